"""Agents and spaces: what they see, what they choose, what is forbidden to them, and what they refuse."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN, critic_targets
from digideep.agent.noises import EpsilonGreedy
from digideep.agent.ppo import PPO
from digideep.agent.sac import SAC
from digideep.agent.td3 import TD3
from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.memory.generic import Memory
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.policy.stochastic import StochasticPolicy
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from tests.support.helpers import make_context
from tests.support.replay import make_agent, make_batch

VECTOR, IMAGE = Box(-1, 1, (3,), np.float32), Box(0, 255, (8, 8), np.uint8)
PPO_PARAMETERS = {
    "policy": describe(StochasticPolicy, hidden_sizes=[16]), "sampler": describe(NewestChunk), "gamma": 0.9,
    "gae_lambda": 0.95, "n_update": 2, "num_mini_batches": 2, "lr": 1e-2, "clip_param": 0.2, "compile": "off",
}  # fmt: skip


def make_ppo(spaces, actions, memory=None, infos=None, **changes):
    return PPO(make_context(spaces, actions, memory, infos=infos), **PPO_PARAMETERS | changes)


def practise(cycles, name, make, *, kwargs=None, info_keys=(), chunks=1, n_steps=16, warm_start=0):
    """Turn the loop with an agent that `make(info, memory)` makes. Returns: the agent and the last chunk."""
    spec = EnvironmentSpec(
        name=name, from_module="tests.support.senses", kwargs=kwargs or {}, info_keys=list(info_keys)
    )
    info, memory = inspect_environment(spec), Memory(chunk_sample_len=n_steps, buffer_chunk_len=chunks)
    agent = make(info, memory)
    explorer = Explorer(
        "train", {"agent": agent}, spec, info, 0, Profiler(), num_workers=2, n_steps=n_steps, warm_start=warm_start
    )
    for _ in range(cycles):
        chunk = explorer.update()
        memory.store(chunk)
        metrics = agent.update()
        assert all(np.isfinite(value) for value in metrics.values())
    return agent, chunk


def test_one_vector_is_seen_as_it_is():
    agent = make_ppo({"/agent": VECTOR, "/other": IMAGE}, Discrete(2), observation_path="/agent")
    rows = np.array([[0.1, 0.2, 0.3]], np.float32)
    assert torch.equal(agent.observe({"/agent": rows, "/other": rows}), torch.tensor(rows))
    assert agent.observation_space is VECTOR
    assert agent.flatten is None


def test_several_vectors_are_joined_in_the_order_that_is_asked_for():
    spaces = {"/goal": VECTOR, "/gear": Discrete(2), "/image": IMAGE}
    agent = make_ppo(spaces, Discrete(2), observation_path=["/gear", "/goal"])
    seen = agent.observe({"/goal": np.array([[0.1, 0.2, 0.3]], np.float32), "/gear": np.array([1])})
    assert seen[0].tolist() == pytest.approx([0, 1, 0.1, 0.2, 0.3])
    assert agent.observation_space.shape == (5,)


def test_images_stay_bytes_on_their_way_and_null_means_all():
    agent = make_ppo({"/goal": VECTOR, "/image": IMAGE}, Discrete(2), observation_path=None)
    seen = agent.observe({"/goal": np.zeros((1, 3), np.float32), "/image": np.zeros((1, 8, 8), np.uint8)})
    assert {path: (tuple(x.shape), x.dtype) for path, x in seen.items()} == {
        "/goal": ((1, 3), torch.float32), "/image": ((1, 8, 8), torch.uint8),
    }  # fmt: skip


def ppo_of_everything(info, memory, **changes):
    return make_ppo(
        info.observation_spaces, info.agent_action_space, memory, info.infos, observation_path=None, **changes
    )


def first_ratio(agent):
    """What the loss divides by, before anything is learned from the newest chunk."""
    data = agent._tensors(agent.sampler(agent.memory, agent.sampler_info))
    rows = torch.from_numpy(agent.sampler(agent.memory, agent.sampler_info)["/rows"])
    batch = data.take(rows)
    now = agent.policy(batch.observations, batch.actions, allowed=batch.allowed)
    return (now.log_p - batch.log_p).exp().detach()


@pytest.mark.parametrize("kind", ["discrete", "box", "many", "bits"])
def test_ppo_sees_and_chooses_from_every_space_and_its_first_ratio_is_one(kind):
    agent, _ = practise(2, "Senses-v0", lambda *a: ppo_of_everything(*a, lr=0.0), kwargs={"actions": kind})
    ratio = first_ratio(agent)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)


def test_behind_a_shared_encoder_ppo_knows_the_values_from_acting():
    agent, chunk = practise(2, "Senses-v0", lambda *a: ppo_of_everything(*a, lr=0.0))
    data = agent._tensors(agent.sampler(agent.memory, agent.sampler_info))
    noted = torch.from_numpy(chunk["/agents/agent/artifacts/value"])[:, :-1]  # nobody acts on the last row
    assert torch.equal(data.values.view(2, 17)[:, :-1], noted)
    torch.testing.assert_close(data.values, agent._values(data, 2), atol=1e-5, rtol=1e-5)
    assert data.values.std() > 0


@pytest.mark.parametrize("cls", [SAC, TD3, DDPG])
def test_continuous_methods_see_goals_and_images_too(cls):
    def make(info, memory):
        replay = {"batch_size": 8, "learning_starts": 16, "gradient_steps_per_frame": 0.1}
        paths = ["/body/position", "/camera", "/body/gear"]
        return make_agent(
            cls, info.observation_spaces, info.agent_action_space, memory, replay=replay, observation_path=paths
        )

    agent, _ = practise(2, "Senses-v0", make, kwargs={"actions": "unit"}, chunks=20, warm_start=16)
    assert agent.n_updates > 0
    assert agent.policy.critics.encoder is not None


@pytest.mark.parametrize("actions", ["discrete", "many"])
def test_ppo_chooses_and_learns_under_the_mask(actions):
    def make(info, memory):
        return ppo_of_everything(info, memory, use_action_mask=True, lr=0.0)

    agent, chunk = practise(2, "Forbidding-v0", make, kwargs={"actions": actions}, info_keys=["action_mask"])
    ratio = first_ratio(agent)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)
    # Near indifference: ln 2 among two actions; none for the one switch and ln 2 for two of three choices.
    assert agent.update()["entropy"] == pytest.approx(np.log(2), abs=0.01)
    assert (chunk["/infos/action_mask"].any(-1) == chunk["/masks"][..., 0]).all()


def test_a_mask_in_the_observation_is_moved_to_the_infos_if_it_is_asked_for():
    def make(info, memory):
        return ppo_of_everything(info, memory, use_action_mask=True)

    place = {"place": "observation"}
    agent, chunk = practise(2, "Forbidding-v0", make, kwargs=place, info_keys=["action_mask"])
    assert agent.observation_paths == ["/clock"]
    assert (chunk["/infos/action_mask"].any(-1) == chunk["/masks"][..., 0]).all()
    spec = EnvironmentSpec(name="Forbidding-v0", from_module="tests.support.senses", kwargs=place)
    assert inspect_environment(spec).observation_spaces.keys() == {"/clock", "/action_mask"}


def test_ppo_learns_which_allowed_action_pays():
    def make(info, memory):
        return ppo_of_everything(info, memory, use_action_mask=True, lr=0.03)

    _, chunk = practise(25, "Forbidding-v0", make, info_keys=["action_mask"], n_steps=32)
    assert chunk["/rewards"].sum() > 0.9 * chunk["/masks"][:, :-1].sum()


def test_dqn_takes_the_best_and_random_ones_of_the_allowed_actions():
    def make(info, memory):
        return make_agent(
            DQN, info.observation_spaces, info.agent_action_space, memory, infos=info.infos, use_action_mask=True,
            epsilon=0.5,
        )  # fmt: skip

    agent, _ = practise(4, "Forbidding-v0", make, info_keys=["action_mask"], chunks=20)  # forbidden ones raise
    assert agent.n_updates > 0
    seen = {"/agent": np.zeros((2, 4), np.float32), "/infos/action_mask": np.array([[0, 0, 1, 0], [0, 1, 0, 0]])}
    for _ in range(20):
        assert agent.action_generator(seen, None, np.ones(2, bool), False)["actions"].tolist() == [2, 1]
    assert agent.action_generator(seen, None, np.ones(2, bool), True)["actions"].tolist() == [2, 1]


def test_random_actions_of_epsilon_greedy_are_uniform_among_the_allowed_ones():
    noise = EpsilonGreedy(np.random.default_rng(0), 4, epsilon=1.0)
    allowed = np.tile(np.array([True, False, False, True]), (6000, 1))
    chosen = noise(np.zeros(6000, np.int64), np.ones(6000, bool), 0, allowed)
    assert np.bincount(chosen, minlength=4) == pytest.approx([3000, 0, 0, 3000], abs=150)


@pytest.mark.parametrize(("is_double", "expected"), [(False, [4, 7, 9]), (True, [2, 7, 9])])
def test_the_maximum_of_dqns_targets_is_over_allowed_actions(is_double, expected):
    batch = make_batch(DQN, size=3)._replace(
        rewards=torch.zeros(3),
        discounts=torch.ones(3),
        next_allowed=torch.tensor([[True, True, False], [False, True, False], [False, False, False]]),
    )
    chooser = torch.tensor([[3.0, 1.0, 8.0], [5.0, 1.0, 9.0], [1.0, 3.0, 2.0]])
    judge = torch.tensor([[2.0, 4.0, 9.0], [9.0, 7.0, 9.0], [1.0, 9.0, 2.0]])
    targets = critic_targets(batch, lambda _: chooser, lambda _: judge, is_double)
    assert targets.tolist() == expected  # where nothing is allowed, nobody has to act: as without a mask


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_agent(DQN, VECTOR, MultiDiscrete([2, 3])), r"Discrete actions, .* For these take PPO or A2C\."),
        (lambda: make_agent(DQN, VECTOR, MultiBinary(2)), r"Discrete actions, .* For these take PPO or A2C\."),
        (lambda: make_agent(DQN, VECTOR, VECTOR), "For these take PPO, A2C, SAC, TQC, CrossQ, TD3 or DDPG"),
        (
            lambda: make_agent(SAC, VECTOR, Discrete(2)),
            r"bounded Box, got Discrete\(2\)\. For these take PPO, A2C, DQN, QR-DQN, PQN or discrete SAC\.",
        ),
        (lambda: make_agent(TD3, VECTOR, MultiBinary(2)), r"got MultiBinary\(2\)\. For these take PPO or A2C\."),
        (lambda: make_agent(DDPG, VECTOR, MultiDiscrete([2])), r"For these take PPO or A2C\."),
        (lambda: make_ppo({"/a": VECTOR}, Discrete(2), observation_path="/a", use_action_mask=True), "info_keys"),
        (lambda: make_ppo({"/a": VECTOR}, VECTOR, observation_path="/a", use_action_mask=True), "needs Discrete or"),
        (lambda: make_ppo({"/a": VECTOR}, Discrete(2), observation_path=["/a", "/a"]), "a list of different paths"),
        (lambda: make_ppo({"/a": VECTOR}, Discrete(2), observation_path=[]), "must be a path, a list"),
        (lambda: make_ppo({"/camera": IMAGE}, Discrete(2), observation_path=["/camra"]), "Did you mean '/camera'"),
        (lambda: make_ppo({"/a": gym.spaces.Text(3)}, Discrete(2), observation_path="/a"), "A policy cannot see Text"),
    ],
)  # fmt: skip
def test_what_an_agent_cannot_do_is_refused_and_says_who_can(make, message):
    with pytest.raises(UsageError, match=message):
        make()
