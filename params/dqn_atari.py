"""DQN on Atari games: Pong by default. `python main.py --params params/dqn_atari.py`"""

from digideep.agent.dqn import DQN
from digideep.memory.priorities import Priorities
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from digideep.policy.discrete import ActionValues
from digideep.policy.encoders import ImpalaResNet, NatureCNN
from params import shared

cpanel = (
    shared.replay_panel()
    | shared.atari_panel()
    | {
        # 100 x 78 cycles of 8 x 32 steps: 1,996,800 steps, 8 million frames of the game
        "number_epochs": 100,
        "epoch_size": 78,
        "num_workers": 8,
        "n_steps": 32,
        # Mnih et al. 2015, Extended Data Table 1: memory (7.1 GB), replay ratio, batch, gamma. CleanRL's: rate, start,
        # exploration over the first tenth, frames from one copy of the target to the next (1,000), of 10 million steps
        "memory_size_in_chunks": 3907,
        "warm_start": 50_000,
        "gradient_steps_per_frame": 0.25,
        "batch_size": 32,
        "n_step_return": 1,
        "prioritized": False,
        "gamma": 0.99,
        "polyak_factor": 1.0,
        "target_update_interval": 250,
        "use_double": True,  # van Hasselt et al. 2016
        "use_dueling": False,
        "epsilon_start": 1.0,
        "epsilon_end": 0.01,
        "epsilon_frames": 250_000,
        "lr": 1e-4,
        "max_grad_norm": 10.0,
        "encoder": "nature",  # or impala, better and slower
        "precision": "fp32",  # of the encoder; bf16 is up to twice as fast where the processor has it
    }
)


def gen_params(cpanel):
    """The parameter tree of a run."""
    epsilon = describe(
        Linear, start=cpanel["epsilon_start"], end=cpanel["epsilon_end"], duration=cpanel["epsilon_frames"]
    )
    encoder = describe(
        {"nature": NatureCNN, "impala": ImpalaResNet}[cpanel["encoder"]],
        precision=cpanel["precision"],
        channel_axis=cpanel["channel_axis"],
    )
    agent = describe(
        DQN,
        policy=describe(ActionValues, hidden_sizes=[], is_dueling=cpanel["use_dueling"], encoder=encoder),
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
        lr=cpanel["lr"],
        max_grad_norm=cpanel["max_grad_norm"],
        compile=cpanel["compile"],
    )
    stacks = {"/observations/agent": cpanel["frame_stack"]}  # each frame is stored once
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.atari_tree(cpanel),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel) | {"stacks": stacks},
        "agents": {"agent": agent},
    }
