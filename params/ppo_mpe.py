"""PPO with several players: three share their parameters in mpe2's simple_spread_v3, by default.

`python main.py --params params/ppo_mpe.py`; see docs/several_agents.md for independent learners and other games.
"""

from digideep.agent.ppo import PPO
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.learning.optimizers import Adam
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from digideep.policy.stochastic import StochasticPolicy
from params import shared

cpanel = shared.session_panel() | {
    "model_name": "mpe2/simple_spread_v3",
    # agent -> players, by name or pattern: one each are independent learners, one for several shares its parameters
    "players": {"agent": ["*"]},
    # 25 x 10 cycles of 16 x 125 frames: 500,000 frames, each of them a step of three players
    "number_epochs": 25,
    "epoch_size": 10,
    "num_workers": 16,
    "n_steps": 125,  # five episodes
    "memory_size_in_chunks": 1,  # on-policy: the newest chunk only
    # Epochs, lambda, clip, lr, eps and entropy of the scripts of Yu et al. 2022, arXiv:2103.01955, for simple_spread
    "n_update": 10,
    "num_mini_batches": 4,  # chosen here, theirs is 1: they have 20 million frames
    "gamma": 0.95,  # of Lowe et al. 2017, arXiv:1706.02275, for these games; with theirs, 0.99, seeds unlearned here
    "tau": 0.95,  # lambda of the advantage estimate
    "clip_param": 0.2,
    "lr": 7e-4,  # falls to 0 over the run, theirs stays
    "eps": 1e-5,  # of Adam
    "value_loss_coef": 0.5,  # from here on as in params/ppo_classic.py
    "entropy_coef": 0.01,
    "max_grad_norm": 0.5,
    "use_clipped_value_loss": False,
    "normalize_advantages": True,
    "recompute_advantages": True,
    "actor_feature_size": 64,
    "use_action_mask": False,  # choose only what each player's action_mask allows
}


def gen_params(cpanel):
    """The parameter tree of a run."""
    agent = describe(
        PPO,
        observation_path=cpanel["observation_path"],
        use_action_mask=cpanel["use_action_mask"],
        policy=describe(
            StochasticPolicy, hidden_sizes=[cpanel["actor_feature_size"]] * 2, **shared.encoder_parameters(cpanel)
        ),
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
    normalizers = [describe(VecNormalizeObs, clip=10.0), describe(VecNormalizeReward, gamma=cpanel["gamma"], clip=10.0)]
    return {
        "runner": describe(Runner, **shared.runner_parameters(cpanel)),
        "env": shared.environment_tree(cpanel, normalizers),
        "explorer": shared.explorer_tree(cpanel),
        "memory": shared.memory_tree(cpanel),
        "agents": dict.fromkeys(cpanel["players"], agent),
    }
