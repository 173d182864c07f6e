"""SAC on dm_control: cheetah run by default. `python main.py --params params/sac_dmc.py`"""

import gymnasium as gym

from digideep.agent.sac import SAC
from digideep.environment.making.wrappers import describe_wrapper
from digideep.parameters.component import describe
from digideep.pipeline.runner import Runner
from digideep.policy.continuous import SquashedGaussianPolicy
from params import shared

cpanel = shared.replay_panel() | {
    "model_name": "dm_control/cheetah-run-v0",  # or DMBenchCheetahRun-v0, which gives one vector as /agent
    "observation_path": None,  # all of them, joined to one vector; or a list such as ["/position", "/velocity"]
    "frame_skip": 1,  # control steps for each action
    # 200 x 5,000 cycles of one frame: 1,000,000 frames
    "number_epochs": 200,
    "epoch_size": 5000,
    "num_workers": 1,
    "n_steps": 1,
    "test_interval": 2,
    # The recipe of sac_mujoco.py, whose sources stand there, but for alpha and lr
    "memory_size_in_chunks": 1_000_000,
    "warm_start": 5000,
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.99,
    "polyak_factor": 0.005,
    "target_update_interval": 1,
    "lr_actor": 3e-4,
    "lr_critic": 3e-4,
    "lr_alpha": 3e-4,
    "alpha": 0.1,  # the start: rewards are at most 1 a step, and 0.2 would drown them; stays if it is not tuned
    "automatic_entropy_tuning": True,
    "hidden_size": 256,
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    agent = describe(
        SAC,
        observation_path=cpanel["observation_path"],
        policy=describe(
            SquashedGaussianPolicy,
            hidden_sizes=[cpanel["hidden_size"]] * 2,
            precision=cpanel["precision"],
            **shared.encoder_parameters(cpanel),
        ),
        sampler=shared.replay_sampler(cpanel),
        gamma=cpanel["gamma"],
        polyak_factor=cpanel["polyak_factor"],
        target_update_interval=cpanel["target_update_interval"],
        lr_actor=cpanel["lr_actor"],
        lr_critic=cpanel["lr_critic"],
        lr_alpha=cpanel["lr_alpha"],
        alpha=cpanel["alpha"],
        automatic_entropy_tuning=cpanel["automatic_entropy_tuning"],
        compile=cpanel["compile"],
    )
    norm_wrappers = []
    if cpanel["frame_skip"] > 1:
        norm_wrappers.append(describe_wrapper(gym.wrappers.RepeatAction, num_repeats=cpanel["frame_skip"]))
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.environment_tree(cpanel, norm_wrappers=norm_wrappers),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": {"agent": agent},
    }
