"""PPO on classic control: CartPole-v1 by default. `python main.py --params params/ppo_classic.py`"""

from digideep.agent.ppo import PPO
from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from params.shared import (
    environment_tree,
    explorer_tree,
    memory_tree,
    newest_sampler,
    recurrence_panel,
    runner_parameters,
    session_panel,
    stochastic_policy,
)  # fmt: skip

cpanel = session_panel() | {
    "model_name": "CartPole-v1",
    # 24 x 20 cycles of 8 x 128 frames: 491,520 frames
    "number_epochs": 24,
    "epoch_size": 20,
    "num_workers": 8,
    "n_steps": 128,
    "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
    # RL-Zoo's PPO for CartPole-v1: gamma, lambda, clip, no entropy bonus; half its epochs and learning rate, chunks of
    # 128 steps instead of 32. With CleanRL's gamma 0.99, lambda 0.95, bonus and 4 epochs, every third seed unlearned
    "n_update": 10,
    "num_mini_batches": 4,
    "gamma": 0.98,
    "tau": 0.8,  # lambda of the advantage estimate
    "clip_param": 0.2,  # falls to 0 over the run: the last updates then cannot unlearn
    "lr": 5e-4,  # falls to 0 over the run
    "eps": 1e-5,  # of Adam
    "value_loss_coef": 0.5,
    "entropy_coef": 0.0,
    "max_grad_norm": 0.5,
    "use_clipped_value_loss": False,
    "normalize_advantages": True,
    "recompute_advantages": True,
    "actor_feature_size": 64,
    "use_action_mask": False,  # choose only what info["action_mask"] allows
    **recurrence_panel(),
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    agent = describe(
        PPO,
        observation_path=cpanel["observation_path"],
        use_action_mask=cpanel["use_action_mask"],
        policy=stochastic_policy(cpanel, [cpanel["actor_feature_size"]] * 2),
        sampler=newest_sampler(cpanel),
        gamma=cpanel["gamma"],
        gae_lambda=cpanel["tau"],
        n_update=cpanel["n_update"],
        num_mini_batches=cpanel["num_mini_batches"],
        lr=describe(Linear, start=cpanel["lr"], end=0.0),
        clip_param=describe(Linear, start=cpanel["clip_param"], end=0.0),
        value_loss_coef=cpanel["value_loss_coef"],
        entropy_coef=cpanel["entropy_coef"],
        max_grad_norm=cpanel["max_grad_norm"],
        use_clipped_value_loss=cpanel["use_clipped_value_loss"],
        normalize_advantages=cpanel["normalize_advantages"],
        recompute_advantages=cpanel["recompute_advantages"],
        optimizer=describe(Adam, eps=cpanel["eps"]),
        compile=cpanel["compile"],
    )
    return {
        "runner": describe(Runner, **runner_parameters(cpanel)),
        "env": environment_tree(cpanel, []),
        "explorer": explorer_tree(cpanel),
        "memory": memory_tree(cpanel),
        "agents": {"agent": agent},
    }
