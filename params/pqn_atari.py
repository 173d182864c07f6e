"""PQN on Atari games: Pong by default. `python main.py --params params/pqn_atari.py`"""

from params import pqn_classic, shared

cpanel = (
    pqn_classic.cpanel
    | shared.atari_panel()
    | {
        "total_frames": 2_007_040,  # 8 million frames of the game
        "epoch_frames": 20_480,
        "test_interval": 49,
        # The authors' configuration for Atari (purejaxql, config/alg/pqn_atari.yaml), with 32 environments for 128 and
        # minibatches of 128 rows
        "num_workers": 32,
        "n_steps": 32,
        "n_update": 2,
        "num_mini_batches": 8,
        "gae_lambda": 0.65,
        "epsilon_end": 0.001,
        "epsilon_frames": 200_000,
        "lr": 2.5e-4,
        "anneal_lr": False,
        "hidden_sizes": [512],  # behind the encoder, with normalised layers
    }
)


def gen_params(cpanel):
    """Return the parameter tree of a run. The encoder's layers are not normalised, as the authors' are."""
    return pqn_classic.gen_params(cpanel) | {"env": shared.atari_tree(cpanel)}
