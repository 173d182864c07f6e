"""A2C on classic control: CartPole-v1 by default. `python main.py --params params/a2c_classic.py`"""

from digideep.agent.a2c import A2C
from digideep.learning.optimizers import RMSprop
from digideep.parameters.component import describe
from params import shared

cpanel = shared.session_panel() | {
    "model_name": "CartPole-v1",
    "total_frames": 491_520,  # of the run; at least
    "epoch_frames": 20_480,  # of an epoch, after which figures are written; about
    "num_workers": 8,  # environments
    "n_steps": 5,  # of each environment in a cycle
    "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
    "ahead": False,  # true collects the next chunk while agents learn: the policy that acts lags by one chunk
    # RL-Zoo's A2C for CartPole-v1; its lr stays, and decay and eps of RMSprop are stable-baselines3's defaults
    "gamma": 0.99,
    "gae_lambda": 1.0,  # 0.95 is better on MuJoCo tasks
    "lr": 7e-4,
    "anneal_lr": True,  # to 0 over the run
    "decay": 0.99,  # of RMSprop's mean of squares
    "eps": 1e-5,  # of RMSprop
    "value_loss_coef": 0.5,
    "entropy_coef": 0.0,
    "max_grad_norm": 0.5,
    "normalize_advantages": False,
    "n_update": 1,  # epochs over a chunk
    "num_mini_batches": 1,
    "normalize_observations": False,  # by their running mean and spread
    "normalize_rewards": False,  # by the running spread of returns
    "log_std_init": 0.0,  # where actions are a Box
    "hidden_sizes": [64, 64],
    "use_action_mask": False,  # choose only what info["action_mask"] allows
    **shared.recurrence_panel(),
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    agent = shared.describe_from(
        cpanel,
        A2C,
        policy=shared.stochastic_policy(cpanel),
        sampler=shared.newest_sampler(cpanel),
        lr=shared.annealed(cpanel, "lr"),
        optimizer=describe(RMSprop, decay=cpanel["decay"], eps=cpanel["eps"]),
    )
    return shared.run_tree(cpanel, agent)
