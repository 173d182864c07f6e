"""SAC with SimBa's networks on MuJoCo tasks: HalfCheetah-v5 by default.

`python main.py --params params/simba_mujoco.py`
"""

from digideep.learning.optimizers import AdamW
from digideep.parameters.component import describe
from params import sac_mujoco

cpanel = sac_mujoco.cpanel | {
    # Lee et al. 2025, arXiv:2410.09754: the authors' configuration (configs/agent/sac_simba.yaml, configs/base.yaml)
    "network": "simba",
    "hidden_sizes": [128],  # a block of the actor
    "critic_hidden_sizes": [512, 512],  # two blocks of the critics
    "normalize_observations": True,  # by their running mean and spread
    "gradient_steps_per_frame": 2.0,
    "policy_delay": 1,
    "lr_actor": 1e-4,
    "lr_critic": 1e-4,
    "lr_alpha": 1e-4,
    "alpha": 0.01,
    "target_entropy": -3.0,  # half of what SAC takes, for the 6 actions of HalfCheetah; null for minus their number
    "weight_decay": 0.01,
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = sac_mujoco.gen_params(cpanel)
    rule = describe(AdamW, weight_decay=cpanel["weight_decay"])
    return tree | {"agents": {name: agent | {"optimizer": rule} for name, agent in tree["agents"].items()}}
