"""PPO on Atari games: Pong by default. `python main.py --params params/ppo_atari.py`"""

from params import ppo_classic, shared

cpanel = (
    ppo_classic.cpanel
    | shared.atari_panel()
    | {
        "total_frames": 2_007_040,  # 8 million frames of the game
        "test_interval": 49,
        # Schulman et al. 2017, Table 5, with 4 epochs as in the code of its authors ("The 37 implementation details")
        "n_update": 4,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_param": 0.1,
        "anneal_clip_param": False,
        "lr": 2.5e-4,
        "entropy_coef": 0.01,
        "use_clipped_value_loss": True,
        "recompute_advantages": False,  # a pass through the network over all rows, three times a cycle
    }
)


def gen_params(cpanel):
    """Return the parameter tree of a run. Actor and critic share the encoder, all but their heads."""
    return ppo_classic.gen_params(cpanel) | {"env": shared.atari_tree(cpanel)}
