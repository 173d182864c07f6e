"""TD3 on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/td3_mujoco.py`"""

from digideep.agent.noises import GaussianNoise
from digideep.agent.td3 import TD3
from digideep.parameters.component import describe
from digideep.policy.continuous import DeterministicPolicy
from params import networks, shared

cpanel = shared.replay_panel() | {
    "model_name": "HalfCheetah-v5",
    "total_frames": 1_000_000,  # of the run; at least
    "epoch_frames": 5000,  # of an epoch, after which figures are written; about
    "num_workers": 1,  # environments
    "n_steps": 1,  # of each environment in a cycle
    "test_interval": 2,
    # Spinning Up's TD3: lr, size of memory, random actions, polyak_factor, noises, delay and networks; they are from
    # Fujimoto et al. 2018, arXiv:1802.09477, Section 6.1, but for the networks (400-300 there). RL-Zoo's batch
    "memory_size": 1_000_000,  # transitions
    "warm_start": 10_000,
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.99,
    "polyak_factor": 0.005,
    "target_update_interval": None,  # gradient steps; null for those of the actor
    "policy_delay": 2,
    "noise_std": 0.1,
    "target_noise_std": 0.2,
    "target_noise_clip": 0.5,
    "bc_alpha": None,  # a number learns from recorded actions without trying others, TD3+BC
    "lr_actor": 1e-3,
    "lr_critic": 1e-3,
    "hidden_sizes": [256, 256],
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    policy = networks.describe_policy(cpanel, DeterministicPolicy)
    noise = describe(GaussianNoise, std=cpanel["noise_std"])
    agent = shared.describe_from(cpanel, TD3, policy=policy, sampler=shared.replay_sampler(cpanel), noise=noise)
    return shared.run_tree(cpanel, agent)
