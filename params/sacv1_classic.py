"""SAC with a state-value network on classic control: Pendulum-v1 by default.

`python main.py --params params/sacv1_classic.py`
"""

from digideep.agent.sacv1 import SACv1
from digideep.policy.continuous import ValuedGaussianPolicy
from params import networks, shared

cpanel = shared.replay_panel() | {
    "model_name": "Pendulum-v1",
    "total_frames": 20_000,  # of the run; at least
    "epoch_frames": 1000,  # of an epoch, after which figures are written; about
    "num_workers": 1,  # environments
    "n_steps": 1,  # of each environment in a cycle
    # Haarnoja et al. 2018, arXiv:1801.01290, Table 1; the rates are RL-Zoo's of SAC for Pendulum-v1 (3e-4 there)
    "memory_size": 1_000_000,  # transitions
    "warm_start": 100,
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.99,
    "polyak_factor": 0.005,  # with 1.0, targets are copies: the paper renews them every 1000 steps
    "target_update_interval": 1,
    "lr_actor": 1e-3,
    "lr_critic": 1e-3,
    "lr_value": 1e-3,
    "alpha": 0.2,
    "num_critics": 2,  # the first SAC of digideep had one
    "hidden_sizes": [256, 256],
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    policy = networks.describe_policy(cpanel, ValuedGaussianPolicy)
    agent = shared.describe_from(cpanel, SACv1, policy=policy, sampler=shared.replay_sampler(cpanel))
    return shared.run_tree(cpanel, agent)
