"""PPO on classic control: CartPole-v1 by default. `python main.py --params params/ppo_classic.py`"""

from digideep.agent.ppo import PPO
from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from params import shared

cpanel = shared.session_panel() | {
    "model_name": "CartPole-v1",
    "total_frames": 491_520,  # of the run; at least
    "epoch_frames": 20_480,  # of an epoch, after which figures are written; about
    "num_workers": 8,  # environments
    "n_steps": 128,  # of each environment in a cycle
    "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
    "ahead": False,  # true collects the next chunk while agents learn: the policy that acts lags by one chunk
    # RL-Zoo's PPO for CartPole-v1: gamma, lambda, clip, no entropy bonus; half its epochs and learning rate, chunks of
    # 128 steps instead of 32. With CleanRL's gamma 0.99, lambda 0.95, bonus and 4 epochs, every third seed unlearned
    "n_update": 10,
    "num_mini_batches": 4,
    "gamma": 0.98,
    "gae_lambda": 0.8,
    "clip_param": 0.2,
    "anneal_clip_param": True,  # to 0 over the run: the last updates then cannot unlearn
    "lr": 5e-4,
    "anneal_lr": True,  # to 0 over the run
    "eps": 1e-5,  # of Adam
    "value_loss_coef": 0.5,
    "entropy_coef": 0.0,
    "max_grad_norm": 0.5,
    "use_clipped_value_loss": False,  # true keeps new values within clip_param of the old ones
    "normalize_advantages": True,
    "recompute_advantages": True,
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
        PPO,
        policy=shared.stochastic_policy(cpanel),
        sampler=shared.newest_sampler(cpanel),
        lr=shared.annealed(cpanel, "lr"),
        clip_param=shared.annealed(cpanel, "clip_param"),
        optimizer=cpanel.get("optimizer", describe(Adam, eps=cpanel["eps"])),
    )
    return shared.run_tree(cpanel, agent)
