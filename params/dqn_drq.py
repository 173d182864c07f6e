"""DrQ(epsilon): DQN that learns Atari games from 100,000 steps, Pong by default.

`python main.py --params params/dqn_drq.py`
"""

from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from params import dqn_atari

cpanel = dqn_atari.cpanel | {
    "total_frames": 100_000,  # two hours of play, after Kaiser et al. 2019, arXiv:1903.00374
    "epoch_frames": 2500,
    "num_workers": 1,
    "n_steps": 1,
    "test_interval": 10,
    "backend": "gymnasium",  # resumes exactly; the game is no bottleneck here
    # Kostrikov et al. 2020, arXiv:2004.13649, as Agarwal et al. 2021, arXiv:2108.13264, have it in their code
    # (Dopamine's DrQ_eps.gin): everything from here on; batch and gamma are those of dqn_atari.py
    "memory_size": 100_000,  # all of the run; 0.7 GB
    "warm_start": 1600,
    "gradient_steps_per_frame": 1.0,
    "n_step_return": 10,
    "random_shift": 4,  # pixels
    "target_update_interval": 1,  # a copy with each step
    "is_dueling": True,
    "adam_eps": 1.5e-4,
    "epsilon_end": 0.01,
    "epsilon_frames": 6600,  # 5,000 after the start there
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = dqn_atari.gen_params(cpanel)
    adam = describe(Adam, eps=cpanel["adam_eps"])
    return tree | {"agents": {name: agent | {"optimizer": adam} for name, agent in tree["agents"].items()}}
