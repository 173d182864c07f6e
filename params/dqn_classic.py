"""DQN on classic control: CartPole-v1 by default. `python main.py --params params/dqn_classic.py`"""

from digideep.agent.dqn import DQN
from digideep.memory.priorities import Priorities
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from digideep.policy.discrete import ActionValues
from params import shared

cpanel = shared.replay_panel() | {
    "model_name": "CartPole-v1",
    # 40 x 40 cycles of 4 x 32 frames: 204,800 frames
    "number_epochs": 40,
    "epoch_size": 40,
    "num_workers": 4,
    "n_steps": 32,
    "test_interval": 1,
    # RL-Zoo's DQN for CartPole-v1: size of memory, start, replay ratio, gamma, network, clipping, end of exploration.
    # CleanRL's: batch, frames from one copy of the target to the next (500)
    "memory_size_in_chunks": 800,
    "warm_start": 1000,
    "gradient_steps_per_frame": 0.5,
    "batch_size": 128,
    "n_step_return": 1,
    "prioritized": False,
    "gamma": 0.99,
    "polyak_factor": 1.0,
    "target_update_interval": 250,
    "use_double": True,  # van Hasselt et al. 2016
    "use_dueling": False,
    "epsilon_start": 1.0,
    "epsilon_end": 0.04,
    "epsilon_frames": 8000,
    "lr": 5e-4,  # falls to 0 over the run; CleanRL's is 2.5e-4, RL-Zoo's 2.3e-3 unlearns after 50,000 frames
    "max_grad_norm": 10.0,
    "hidden_size": 256,
    "use_action_mask": False,  # choose only what info["action_mask"] allows
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    epsilon = describe(
        Linear, start=cpanel["epsilon_start"], end=cpanel["epsilon_end"], duration=cpanel["epsilon_frames"]
    )
    agent = describe(
        DQN,
        observation_path=cpanel["observation_path"],
        use_action_mask=cpanel["use_action_mask"],
        policy=describe(
            ActionValues,
            hidden_sizes=[cpanel["hidden_size"]] * 2,
            is_dueling=cpanel["use_dueling"],
            precision=cpanel["precision"],
            **shared.encoder_parameters(cpanel),
        ),
        sampler=shared.replay_sampler(cpanel)
        | {
            "n_step_return": cpanel["n_step_return"],
            "priorities": describe(Priorities) if cpanel["prioritized"] else None,
        },
        epsilon=epsilon,
        gamma=cpanel["gamma"],
        polyak_factor=cpanel["polyak_factor"],
        target_update_interval=cpanel["target_update_interval"],
        is_double=cpanel["use_double"],
        lr=describe(Linear, start=cpanel["lr"], end=0.0),
        max_grad_norm=cpanel["max_grad_norm"],
        compile=cpanel["compile"],
    )
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.environment_tree(cpanel, []),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": {"agent": agent},
    }
