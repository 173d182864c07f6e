"""CrossQ on classic control: Pendulum-v1 by default. `python main.py --params params/crossq_classic.py`"""

from digideep.agent.crossq import CrossQ
from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from params import sac_classic

cpanel = sac_classic.cpanel | {
    # RL-Zoo's CrossQ for Pendulum-v1: delay; the rest is its SAC
    "network": "batch_renorm",
    "polyak_factor": None,  # no targets
    "policy_delay": 2,
    "beta1": 0.9,  # of Adam
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = sac_classic.gen_params(cpanel, CrossQ)
    rule = describe(Adam, beta1=cpanel["beta1"])
    return tree | {"agents": {name: agent | {"optimizer": rule} for name, agent in tree["agents"].items()}}
