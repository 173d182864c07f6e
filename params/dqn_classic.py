"""DQN on classic control: CartPole-v1 by default. `python main.py --params params/dqn_classic.py`"""

from digideep.agent.dqn import DQN
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.discrete import ActionValues
from digideep.policy.recurrent import RecurrentActionValues
from params import networks, shared

cpanel = shared.replay_panel() | {
    "model_name": "CartPole-v1",
    "total_frames": 204_800,  # of the run; at least
    "epoch_frames": 5120,  # of an epoch, after which figures are written; about
    "num_workers": 4,  # environments
    "n_steps": 32,  # of each environment in a cycle
    "test_interval": 1,
    # RL-Zoo's DQN for CartPole-v1: size of memory, start, replay ratio, gamma, network, clipping, end of exploration.
    # CleanRL's: batch. Ours: 3-step returns, and a copy of the target every 500 steps; with 1 and 250 one seed of five
    # unlearned in the last frames, see benchmarks/LEARNING.md
    "memory_size": 102_400,  # transitions
    "warm_start": 1000,
    "gradient_steps_per_frame": 0.5,
    "batch_size": 128,
    "n_step_return": 3,
    "prioritized": False,  # true draws what was least expected more often, Schaul et al. 2016
    "gamma": 0.99,
    "polyak_factor": 1.0,
    "target_update_interval": 500,
    "is_double": True,  # van Hasselt et al. 2016
    "is_dueling": False,
    "epsilon_start": 1.0,
    "epsilon_end": 0.04,
    "epsilon_frames": 8000,  # over which exploration falls from start to end
    "lr": 5e-4,  # CleanRL's is 2.5e-4, RL-Zoo's 2.3e-3 unlearns after 50,000 frames
    "anneal_lr": True,  # to 0 over the run
    "max_grad_norm": 10.0,
    "hidden_sizes": [256, 256],
    "use_action_mask": False,  # choose only what info["action_mask"] allows
    **networks.recurrence_panel(),
}


def gen_params(cpanel, method=DQN):
    """Return the parameter tree of a run. Args: method: the class of the agent."""
    epsilon = describe(
        Linear, start=cpanel["epsilon_start"], end=cpanel["epsilon_end"], duration=cpanel["epsilon_frames"]
    )
    agent = shared.describe_from(
        cpanel,
        method,
        policy=networks.describe_policy(cpanel, ActionValues, RecurrentActionValues),
        sampler=shared.replay_sampler(cpanel),
        epsilon=epsilon,
        lr=shared.annealed(cpanel, "lr"),
    )
    return shared.run_tree(cpanel, agent)
