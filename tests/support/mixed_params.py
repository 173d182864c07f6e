"""Two methods in one run, for tests: DQN plays two players from replay, PPO the third from the newest chunk."""

from digideep.agent.dqn import DQN
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.memory.replay import Replay
from digideep.parameters.component import describe
from digideep.policy.discrete import ActionValues
from params import ppo_mpe, shared

cpanel = ppo_mpe.cpanel | {
    "model_name": "tests/roster",
    "from_module": "tests.support.parallel",
    "players": {"x": ["a", "c"], "y": ["b"]},
    "n_update": 2,
    "num_mini_batches": 2,
    "memory_size_in_chunks": 4,
    "compile": "off",
}


def gen_params(cpanel):
    tree = ppo_mpe.gen_params(cpanel)
    dqn = describe(
        DQN, policy=describe(ActionValues, hidden_sizes=[16]), target_update_interval=20, lr=1e-3, epsilon=0.2,
        gamma=0.9, observation_path=None, use_action_mask=cpanel["use_action_mask"],
        sampler=describe(Replay, batch_size=8, learning_starts=32, gradient_steps_per_frame=0.25),
    )  # fmt: skip
    normalizers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
    ppo = {**tree["agents"]["y"], "observation_path": "/line"}
    return tree | {"agents": {"x": dqn, "y": ppo}, "env": shared.environment_tree(cpanel, normalizers)}
