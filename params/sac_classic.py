"""SAC on classic control: Pendulum-v1 by default. `python main.py --params params/sac_classic.py`"""

from digideep.agent.sac import SAC
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.recurrent import RecurrentGaussianPolicy
from params import networks, shared

cpanel = shared.replay_panel() | {
    "model_name": "Pendulum-v1",
    "total_frames": 20_000,  # of the run; at least
    "epoch_frames": 1000,  # of an epoch, after which figures are written; about
    "num_workers": 1,  # environments
    "n_steps": 1,  # of each environment in a cycle
    # RL-Zoo's SAC for Pendulum-v1: lr and random start; the rest is stable-baselines3's default, which is that of
    # Haarnoja et al. 2018, arXiv:1812.05905, Table 1
    "memory_size": 1_000_000,  # transitions
    "warm_start": 100,
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.99,
    "polyak_factor": 0.005,
    "target_update_interval": 1,
    "lr_actor": 1e-3,
    "lr_critic": 1e-3,
    "lr_alpha": 1e-3,
    "alpha": 1.0,  # the start; stays if it is not tuned
    "automatic_entropy_tuning": True,
    "hidden_sizes": [256, 256],
    **networks.critic_panel(),
    **networks.recurrence_panel(),
}


def gen_params(cpanel, method=SAC, policies=(SquashedGaussianPolicy, RecurrentGaussianPolicy)):
    """Return the parameter tree of a run.

    Args:
        cpanel: the control panel.
        method: class of the agent.
        policies: classes of its policy: a plain one, and one that remembers.
    """
    policy = networks.describe_policy(cpanel, *policies)
    agent = shared.describe_from(cpanel, method, policy=policy, sampler=shared.replay_sampler(cpanel))
    return shared.run_tree(cpanel, agent)
