"""Three methods share one environment, for tests: DQN grips, SAC reaches, PPO does the rest, which is hybrid."""

from digideep.agent.dqn import DQN
from digideep.agent.sac import SAC
from digideep.memory.replay import Replay
from digideep.parameters.component import describe
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from params import ppo_classic

cpanel = ppo_classic.cpanel | {
    "model_name": "Robot-v0",
    "from_module": "tests.support.joint",
    "players": {"hand": ["arm/grip"], "reach": ["arm/reach"], "rest": ["wheels/*", "dial"]},
    "n_update": 2,
    "num_mini_batches": 2,
    "memory_size_in_chunks": 4,
    "normalize_observations": True,
    "normalize_rewards": True,
    "warm_start": 0,
    "compile": "off",
}


def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    replay = {
        "gamma": 0.9, "observation_path": None,
        "sampler": describe(Replay, batch_size=8, learning_starts=32, gradient_steps_per_frame=0.25),
    }  # fmt: skip
    values, actor = describe(ActionValues, hidden_sizes=[16]), describe(SquashedGaussianPolicy, hidden_sizes=[16])
    hand = describe(DQN, policy=values, target_update_interval=20, lr=1e-3, epsilon=0.2, **replay)
    reach = describe(SAC, policy=actor, polyak_factor=0.01, lr_actor=1e-3, lr_critic=1e-3, **replay)
    return tree | {"agents": {"hand": hand, "reach": reach, "rest": tree["agents"]["rest"]}}
