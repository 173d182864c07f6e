"""DDPG on classic control: Pendulum-v1 by default. `python main.py --params params/ddpg_classic.py`"""

from digideep.agent.ddpg import DDPG
from digideep.agent.noises import OrnsteinUhlenbeckNoise
from digideep.parameters.component import describe
from digideep.policy.continuous import DeterministicPolicy
from params import networks, shared

cpanel = shared.replay_panel() | {
    "model_name": "Pendulum-v1",
    "total_frames": 20_000,  # of the run; at least
    "epoch_frames": 1000,  # of an epoch, after which figures are written; about
    "num_workers": 1,  # environments
    "n_steps": 1,  # of each environment in a cycle
    # RL-Zoo's DDPG for Pendulum-v1: lr, batch, size of memory, gamma and polyak_factor
    "memory_size": 200_000,  # transitions
    "warm_start": 1000,  # 5 episodes; RL-Zoo spends half of the run on random actions
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.98,
    "polyak_factor": 0.005,
    "target_update_interval": None,  # gradient steps; null for those of the actor
    # Lillicrap et al. 2016, arXiv:1509.02971, Section 7: the noise
    "noise_std": 0.2,
    "theta": 0.15,
    "lr_actor": 1e-3,
    "lr_critic": 1e-3,
    "hidden_sizes": [256, 256],
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    policy = networks.describe_policy(cpanel, DeterministicPolicy, num_critics=1)
    noise = describe(OrnsteinUhlenbeckNoise, std=cpanel["noise_std"], theta=cpanel["theta"])
    agent = shared.describe_from(cpanel, DDPG, policy=policy, sampler=shared.replay_sampler(cpanel), noise=noise)
    return shared.run_tree(cpanel, agent)
