"""QR-DQN on Atari games: Pong by default. `python main.py --params params/qr_dqn_atari.py`"""

from digideep.agent.qr_dqn import QRDQN
from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from params import dqn_atari

cpanel = dqn_atari.cpanel | {
    # Dabney et al. 2018, arXiv:1710.10044, Section 5: quantiles, learning rate, eps of Adam 0.01 / batch_size,
    # exploration; the target is copied every 10,000 gradient steps (RL-Zoo)
    "critic_outputs": 200,
    "is_double": False,
    "lr": 5e-5,
    "eps": 3.125e-4,  # of Adam
    "target_update_interval": 10_000,
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = dqn_atari.gen_params(cpanel, QRDQN)
    agents = {name: agent | {"optimizer": describe(Adam, eps=cpanel["eps"])} for name, agent in tree["agents"].items()}
    return tree | {"agents": agents}
