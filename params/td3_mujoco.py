"""TD3 on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/td3_mujoco.py`"""

from digideep.agent.noises import GaussianNoise
from digideep.agent.td3 import TD3
from digideep.parameters.component import describe
from digideep.pipeline.runner import Runner
from digideep.policy.continuous import DeterministicPolicy
from params import shared

cpanel = shared.replay_panel() | {
    "model_name": "HalfCheetah-v5",
    # 200 x 5,000 cycles of one frame: 1,000,000 frames
    "number_epochs": 200,
    "epoch_size": 5000,
    "num_workers": 1,
    "n_steps": 1,
    "test_interval": 2,
    # Spinning Up's TD3: lr, size of memory, random actions, polyak_factor, noises, delay and networks; they are from
    # Fujimoto et al. 2018, arXiv:1802.09477, Section 6.1, but for the networks (400-300 there). RL-Zoo's batch
    "memory_size_in_chunks": 1_000_000,
    "warm_start": 10_000,
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.99,
    "polyak_factor": 0.005,
    "policy_delay": 2,
    "noise_std": 0.1,
    "target_noise_std": 0.2,
    "target_noise_clip": 0.5,
    "lr_actor": 1e-3,
    "lr_critic": 1e-3,
    "hidden_size": 256,
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    agent = describe(
        TD3,
        observation_path=cpanel["observation_path"],
        policy=describe(
            DeterministicPolicy,
            hidden_sizes=[cpanel["hidden_size"]] * 2,
            precision=cpanel["precision"],
            **shared.encoder_parameters(cpanel),
        ),
        sampler=shared.replay_sampler(cpanel),
        noise=describe(GaussianNoise, std=cpanel["noise_std"]),
        gamma=cpanel["gamma"],
        polyak_factor=cpanel["polyak_factor"],
        policy_delay=cpanel["policy_delay"],
        target_noise_std=cpanel["target_noise_std"],
        target_noise_clip=cpanel["target_noise_clip"],
        lr_actor=cpanel["lr_actor"],
        lr_critic=cpanel["lr_critic"],
        compile=cpanel["compile"],
    )
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.environment_tree(cpanel, []),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": {"agent": agent},
    }
