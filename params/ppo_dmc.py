"""PPO on dm_control: cheetah run by default. `python main.py --params params/ppo_dmc.py`"""

import gymnasium as gym

from digideep.agent.ppo import PPO
from digideep.environment.making.wrappers import describe_wrapper
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.learning.optimizers import Adam
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from digideep.policy.stochastic import StochasticPolicy
from params import shared

cpanel = shared.session_panel() | {
    "model_name": "dm_control/cheetah-run-v0",  # or DMBenchCheetahRun-v0, which gives one vector as /agent
    "observation_path": None,  # all of them, joined to one vector; or a list such as ["/position", "/velocity"]
    "frame_skip": 1,  # control steps for each action
    # 49 x 10 cycles of 4 x 512 frames: 1,003,520 frames
    "number_epochs": 49,
    "epoch_size": 10,
    "num_workers": 4,
    "n_steps": 512,
    "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
    # The recipe of ppo_mujoco.py, whose sources stand there
    "n_update": 10,
    "num_mini_batches": 32,
    "gamma": 0.99,
    "tau": 0.95,  # lambda of the advantage estimate
    "clip_param": 0.2,
    "lr": 3e-4,  # falls to 0 over the run
    "eps": 1e-5,  # of Adam
    "value_loss_coef": 0.25,
    "entropy_coef": 0.0,
    "max_grad_norm": 0.5,
    "log_std_init": -0.5,
    "actor_feature_size": 64,
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    policy = describe(
        StochasticPolicy, hidden_sizes=[cpanel["actor_feature_size"]] * 2, log_std_init=cpanel["log_std_init"],
        **shared.encoder_parameters(cpanel),
    )  # fmt: skip
    agent = describe(
        PPO,
        observation_path=cpanel["observation_path"],
        policy=policy,
        sampler=describe(NewestChunk),
        gamma=cpanel["gamma"],
        gae_lambda=cpanel["tau"],
        n_update=cpanel["n_update"],
        num_mini_batches=cpanel["num_mini_batches"],
        lr=describe(Linear, start=cpanel["lr"], end=0.0),
        clip_param=cpanel["clip_param"],
        value_loss_coef=cpanel["value_loss_coef"],
        entropy_coef=cpanel["entropy_coef"],
        max_grad_norm=cpanel["max_grad_norm"],
        use_clipped_value_loss=False,
        normalize_advantages=False,  # rewards are scaled by the spread of returns already
        recompute_advantages=True,
        optimizer=describe(Adam, eps=cpanel["eps"]),
        compile=cpanel["compile"],
    )
    norm_wrappers = []
    if cpanel["frame_skip"] > 1:
        norm_wrappers.append(describe_wrapper(gym.wrappers.RepeatAction, num_repeats=cpanel["frame_skip"]))
    normalizers = [describe(VecNormalizeObs, clip=10.0), describe(VecNormalizeReward, gamma=cpanel["gamma"], clip=10.0)]
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.environment_tree(cpanel, normalizers, norm_wrappers),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": {"agent": agent},
    }
