"""QR-DQN on classic control: CartPole-v1 by default. `python main.py --params params/qr_dqn_classic.py`"""

from digideep.agent.qr_dqn import QRDQN
from params import dqn_classic

cpanel = dqn_classic.cpanel | {
    "critic_outputs": 10,  # quantiles of each action; RL-Zoo's QR-DQN for CartPole-v1; 25 for Acrobot-v1
    "is_double": False,  # Dabney et al. 2018, arXiv:1710.10044, Algorithm 1
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    return dqn_classic.gen_params(cpanel, QRDQN)
