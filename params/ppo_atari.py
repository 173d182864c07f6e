"""PPO on Atari games: Pong by default. `python main.py --params params/ppo_atari.py`"""

from digideep.agent.ppo import PPO
from digideep.learning.optimizers import Adam
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from digideep.policy.encoders import ImpalaResNet, NatureCNN
from digideep.policy.stochastic import StochasticPolicy
from params import shared

cpanel = (
    shared.session_panel()
    | shared.atari_panel()
    | {
        # 98 x 20 cycles of 8 x 128 steps: 2,007,040 steps, 8 million frames of the game
        "number_epochs": 98,
        "epoch_size": 20,
        "num_workers": 8,
        "n_steps": 128,
        "test_interval": 49,
        "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
        # Schulman et al. 2017, Table 5, with 4 epochs as in the code of its authors ("The 37 implementation details")
        "n_update": 4,
        "num_mini_batches": 4,
        "gamma": 0.99,
        "tau": 0.95,  # lambda of the advantage estimate
        "clip_param": 0.1,
        "lr": 2.5e-4,  # falls to 0 over the run
        "eps": 1e-5,  # of Adam
        "value_loss_coef": 0.5,
        "entropy_coef": 0.01,
        "max_grad_norm": 0.5,
        "use_clipped_value_loss": True,
        "normalize_advantages": True,
        "recompute_advantages": False,  # a pass through the network over all rows, three times a cycle
        "encoder": "nature",  # or impala, better and slower
        "precision": "fp32",  # of the encoder; bf16 is up to twice as fast where the processor has it
    }
)


def gen_params(cpanel):
    """The parameter tree of a run."""
    encoder = describe(
        {"nature": NatureCNN, "impala": ImpalaResNet}[cpanel["encoder"]],
        precision=cpanel["precision"],
        channel_axis=cpanel["channel_axis"],
    )
    agent = describe(
        PPO,
        policy=describe(StochasticPolicy, hidden_sizes=[], encoder=encoder),  # actor and critic share all but heads
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
        use_clipped_value_loss=cpanel["use_clipped_value_loss"],
        normalize_advantages=cpanel["normalize_advantages"],
        recompute_advantages=cpanel["recompute_advantages"],
        optimizer=describe(Adam, eps=cpanel["eps"]),
        compile=cpanel["compile"],
    )
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.atari_tree(cpanel),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": {"agent": agent},
    }
