"""SAC on classic control: Pendulum-v1 by default. `python main.py --params params/sac_classic.py`"""

from digideep.agent.sac import SAC
from digideep.parameters.component import describe
from digideep.pipeline.runner import Runner
from digideep.policy.continuous import SquashedGaussianPolicy
from params import shared

cpanel = shared.replay_panel() | {
    "model_name": "Pendulum-v1",
    # 20 x 1,000 cycles of one frame: 20,000 frames
    "number_epochs": 20,
    "epoch_size": 1000,
    "num_workers": 1,
    "n_steps": 1,
    # RL-Zoo's SAC for Pendulum-v1: lr and random start; the rest is stable-baselines3's default, which is that of
    # Haarnoja et al. 2018, arXiv:1812.05905, Table 1
    "memory_size_in_chunks": 1_000_000,
    "warm_start": 100,
    "gradient_steps_per_frame": 1.0,
    "batch_size": 256,
    "gamma": 0.99,
    "polyak_factor": 0.005,
    "target_update_interval": 1,
    "lr_actor": 1e-3,
    "lr_critic": 1e-3,
    "lr_alpha": 1e-3,
    "alpha": 1.0,  # the start; stays if it is not tuned
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
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.environment_tree(cpanel, []),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": {"agent": agent},
    }
