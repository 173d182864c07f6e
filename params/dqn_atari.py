"""DQN on Atari games: Pong by default. `python main.py --params params/dqn_atari.py`"""

from params import dqn_classic, shared

cpanel = (
    dqn_classic.cpanel
    | shared.atari_panel()
    | {
        # 100 x 78 cycles of 8 x 32 steps: 1,996,800 steps, 8 million frames of the game
        "number_epochs": 100,
        "epoch_size": 78,
        "num_workers": 8,
        "test_interval": 10,
        # Mnih et al. 2015, Extended Data Table 1: memory (7.1 GB), replay ratio, batch, gamma. CleanRL's: rate, start,
        # exploration over the first tenth, frames from one copy of the target to the next (1,000), of 10 million steps
        "memory_size_in_chunks": 3907,
        "warm_start": 50_000,
        "gradient_steps_per_frame": 0.25,
        "batch_size": 32,
        "epsilon_end": 0.01,
        "epsilon_frames": 250_000,
        "lr": 1e-4,
        "anneal_lr": False,
    }
)


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = dqn_classic.gen_params(cpanel)
    stacks = {"/observations/agent": cpanel["frame_stack"]}  # each frame is stored once
    return tree | {"env": shared.atari_tree(cpanel), "memory": tree["memory"] | {"stacks": stacks}}
