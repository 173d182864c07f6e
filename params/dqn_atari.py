"""DQN on Atari games: Pong by default. `python main.py --params params/dqn_atari.py`"""

from digideep.agent.dqn import DQN
from params import dqn_classic, shared

cpanel = (
    dqn_classic.cpanel
    | shared.atari_panel()
    | {
        "total_frames": 1_996_800,  # 8 million frames of the game
        "epoch_frames": 19_968,
        "num_workers": 8,
        "test_interval": 10,
        # Mnih et al. 2015, Extended Data Table 1: memory (7.1 GB), replay ratio, batch, gamma. CleanRL's: rate, start,
        # exploration over the first tenth, frames from one copy of the target to the next (1,000), of 10 million steps
        "memory_size": 1_000_000,
        "warm_start": 50_000,
        "gradient_steps_per_frame": 0.25,
        "batch_size": 32,
        "n_step_return": 1,
        "target_update_interval": 250,
        "epsilon_end": 0.01,
        "epsilon_frames": 250_000,
        "lr": 1e-4,
        "anneal_lr": False,
    }
)


def gen_params(cpanel, method=DQN):
    """Return the parameter tree of a run. Args: method: the class of the agent."""
    tree = dqn_classic.gen_params(cpanel, method)
    stacks = {"/observations/agent": cpanel["frame_stack"]}  # each frame is stored once
    return tree | {"env": shared.atari_tree(cpanel), "memory": shared.memory_tree(cpanel, stacks=stacks)}
