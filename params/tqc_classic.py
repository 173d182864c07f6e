"""TQC on classic control: Pendulum-v1 by default. `python main.py --params params/tqc_classic.py`"""

from digideep.agent.tqc import TQC
from params import sac_classic

cpanel = sac_classic.cpanel | {
    # RL-Zoo's and sb3-contrib's TQC; Kuznetsov et al. 2020, arXiv:2005.04269, Table 2, has 5 critics of three layers
    "critic_outputs": 25,  # quantiles of each critic
    "dropped_quantiles": 2,  # for each critic, of the pool; 0 to 5
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    return sac_classic.gen_params(cpanel, TQC)
