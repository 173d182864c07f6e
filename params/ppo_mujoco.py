"""PPO on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/ppo_mujoco.py`"""

from digideep.agent.ppo import PPO
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
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
    "model_name": "HalfCheetah-v5",
    # 49 x 10 cycles of 4 x 512 frames: 1,003,520 frames
    "number_epochs": 49,
    "epoch_size": 10,
    "num_workers": 4,
    "n_steps": 512,
    "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
    # Schulman et al. 2017, Table 3: 2048 frames an update, 10 epochs, minibatches of 64, gamma, clip
    "n_update": 10,
    "num_mini_batches": 32,
    "gamma": 0.99,
    "tau": 0.9,  # lambda of the advantage estimate; with Table 3's 0.95 three seeds return 3,641, not 6,365
    "clip_param": 0.2,
    "lr": 3e-4,  # falls to 0 over the run
    "eps": 1e-5,  # of Adam
    # From here on: Tianshou's MuJoCo benchmark (learning-curves over 10 seeds), its PPO
    "value_loss_coef": 0.25,
    "entropy_coef": 0.0,
    "max_grad_norm": 0.5,
    "use_clipped_value_loss": False,
    "normalize_advantages": False,  # rewards are scaled by the spread of returns already
    "recompute_advantages": True,
    "log_std_init": -0.5,
    "actor_feature_size": 64,
    **recurrence_panel(),
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    hidden_sizes = [cpanel["actor_feature_size"]] * 2
    agent = describe(
        PPO,
        observation_path=cpanel["observation_path"],
        policy=stochastic_policy(cpanel, hidden_sizes, log_std_init=cpanel["log_std_init"]),
        sampler=newest_sampler(cpanel),
        gamma=cpanel["gamma"],
        gae_lambda=cpanel["tau"],
        n_update=cpanel["n_update"],
        num_mini_batches=cpanel["num_mini_batches"],
        lr=describe(Linear, start=cpanel["lr"], end=0.0),
        clip_param=cpanel["clip_param"],
        value_loss_coef=cpanel["value_loss_coef"],
        entropy_coef=cpanel["entropy_coef"],
        max_grad_norm=cpanel["max_grad_norm"],
        use_clipped_value_loss=cpanel["use_clipped_value_loss"],
        normalize_advantages=cpanel["normalize_advantages"],
        recompute_advantages=cpanel["recompute_advantages"],
        optimizer=describe(Adam, eps=cpanel["eps"]),
        compile=cpanel["compile"],
    )
    normalizers = [describe(VecNormalizeObs, clip=10.0), describe(VecNormalizeReward, gamma=cpanel["gamma"], clip=10.0)]
    return {
        "runner": describe(Runner, **runner_parameters(cpanel)),
        "env": environment_tree(cpanel, normalizers),
        "explorer": explorer_tree(cpanel),
        "memory": memory_tree(cpanel),
        "agents": {"agent": agent},
    }
