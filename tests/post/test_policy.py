"""A policy by itself: one observation or a batch, with or without exploration, memory, masks, values, players."""

import contextlib

import numpy as np
import pytest

from digideep.environment.normalizers import VectorWrapper
from digideep.post.loader import Loader
from digideep.post.policy import _frames
from digideep.utility.errors import UsageError, WorkerError


def walk(loader, policy, steps):
    """Observations and infos of an environment that the policy acts in."""
    with contextlib.closing(loader.environment()) as environment:
        observation, info = environment.reset(seed=3)
        for _ in range(steps):
            yield observation, info
            observation, _, terminated, truncated, info = environment.step(policy(observation, info))
            if terminated or truncated:
                observation, info = environment.reset()
                policy.reset()


def stacked(observations):
    """One observation of arrays (B, ...) from B of them, as a vector of environments has it."""
    first = observations[0]
    if isinstance(first, dict):
        return {key: stacked([each[key] for each in observations]) for key in first}
    if isinstance(first, tuple):
        return tuple(stacked(list(each)) for each in zip(*observations, strict=True))
    return np.stack(observations)


@pytest.mark.parametrize("kind", ["sac", "ddpg", "td3 on float64", "dueling with masks", "gru over everything"])
def test_a_batch_is_chosen_as_each_by_itself(session_of, kind):
    loader = Loader(session_of(kind))
    policy, seen = loader.policy(), []
    for observation, info in walk(loader, loader.policy(), 64):
        policy.reset()
        seen.append((observation, info, policy(observation, info)))
    for size in (1, 7, 64):
        observations, infos, actions = zip(*seen[:size], strict=True)
        info = {key: stacked([each[key] for each in infos]) for key in infos[0] if key == "action_mask"}
        policy.reset()
        found = policy(stacked(observations), info)
        assert found.shape == (size, *policy.info.action_space.shape)
        assert found.dtype == policy.info.action_space.dtype
        assert found == pytest.approx(np.stack(actions), rel=1e-5, abs=1e-6)


def test_actions_are_what_the_environments_step_takes(session_of, cartpoles):
    for session in (cartpoles[0], session_of("dueling with masks"), session_of("gru over everything")):
        loader = Loader(session)
        policy = loader.policy()
        for observation, info in walk(loader, policy, 3):
            action = policy(observation, info)
            assert type(action) is (np.ndarray if policy.info.action_space.shape else int)
            assert policy.info.action_space.contains(action)


@pytest.mark.parametrize("kind", ["sac", "ddpg", "lstm"])
def test_it_explores_if_it_is_asked_to(session_of, kind):
    loader = Loader(session_of(kind))
    policy, other = loader.policy(), loader.policy()
    observation = np.full((40, *policy.info.observation_spaces["/agent"].shape), 0.1, np.float32)
    modes, samples = policy(observation), other(observation, deterministic=False)
    assert np.ptp(modes, 0).max() < 1e-6, "but for rounding, which the place in a batch decides"
    assert np.ptp(samples, 0).max() > 1e-3
    assert loader.policy()(observation, deterministic=False).tolist() == samples.tolist()


def test_epsilon_is_that_of_the_checkpoint(session_of):
    policy = Loader(session_of("dueling with masks")).policy()
    assert policy.agent.memory.n_frames == 4 * 16 * 2  # epoch_size x n_steps x workers
    epsilon = policy.agent.noise.epsilon
    observation = np.tile(np.eye(4, dtype=np.float32)[:1], (2000, 1))
    info = {"action_mask": np.ones((2000, 4), np.int8)}
    policy.agent.memory.n_frames = 8000
    best = policy({"clock": observation}, info)
    differing = (policy({"clock": observation}, info, deterministic=False) != best).mean()
    assert differing == pytest.approx(epsilon(8000) * 3 / 4, abs=0.02)


def test_the_frames_of_a_checkpoint_amid_an_epoch_are_those_of_its_cycles():
    tree = {"explorer": {"train": {"num_workers": 3, "n_steps": 16}}, "runner": {"n_cycles": 5, "num_ranks": 2}}
    assert _frames({"runner": {"i_epoch": 2, "i_cycle": 4}}, tree) == (2 * 5 + 4) * 16 * 3 * 2


class Ageing(VectorWrapper):
    """Counts the observations that it has seen."""

    age = 0

    def observe(self, observations):
        self.age += 1
        return observations


def test_what_it_remembers_can_be_carried_kept_and_forgotten(session_of):
    policy = Loader(session_of("lstm")).policy()
    first, later = np.array([1, 0], np.float32), np.array([0, 0], np.float32)
    size = policy.agent.policy.state_size
    assert policy.hidden_state.tolist() == [[0] * size]
    policy(first)
    one = policy.hidden_state.copy()
    policy(later)
    two = policy.hidden_state.copy()
    assert one.any()
    assert not np.allclose(one, two)
    policy.hidden_state = one
    policy(later)
    assert policy.hidden_state.tolist() == two.tolist()
    policy.reset()
    assert not policy.hidden_state.any()
    policy(np.stack([first, first, first]))
    assert policy.hidden_state == pytest.approx(np.repeat(one, 3, 0), abs=1e-6)
    policy.reset(np.array([False, True, False]))
    assert policy.hidden_state.any(1).tolist() == [True, False, True]
    policy(np.stack([later, first, later]))
    assert policy.hidden_state == pytest.approx(np.concatenate([two, one, two]), abs=1e-6)
    with pytest.raises(UsageError, match=r"remembers 3 episodes, got 1 observations. Call reset\(\)"):
        policy(first)


def test_a_state_can_be_given_for_a_new_batch(session_of):
    policy = Loader(session_of("lstm")).policy()
    policy(np.array([1, 0], np.float32))
    state = policy.hidden_state
    policy(np.array([0, 0], np.float32))
    after = policy.hidden_state
    policy.reset()
    policy.hidden_state = np.repeat(state, 4, 0)
    policy(np.zeros((4, 2), np.float32))
    assert policy.hidden_state == pytest.approx(np.repeat(after, 4, 0), abs=1e-6)


def test_values_are_those_that_learning_uses_and_move_nothing(session_of, cartpoles):
    policy = Loader(cartpoles[0]).policy()
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = policy.agent.policy.value(policy.agent.observe({"/agent": observations})).detach().numpy()
    assert policy.value(observations) == pytest.approx(expected)
    assert policy.value(observations[0]) == pytest.approx(expected[0])
    policy.reset(np.zeros(1, np.bool_))
    policy.wrappers = [Ageing()]
    policy.value(observations[0])
    assert policy.wrappers[0].age == 0
    policy(observations[0])
    assert policy.wrappers[0].age == 1
    policy = Loader(session_of("lstm")).policy()
    first = np.array([1, 0], np.float32)
    fresh = policy.value(first)
    assert policy.value(first) == fresh
    assert not policy.hidden_state.any()
    policy(first)
    assert policy.value(first) != fresh
    policy = Loader(session_of("sac")).policy()
    seen = policy.agent.observe({"/agent": observations[:, :3]})
    action = policy.agent.policy.actor.act(seen, deterministic=True)
    assert policy.value(observations[:, :3]) == pytest.approx(
        policy.agent.policy.critics(seen, action).amin(0).detach()
    )


def test_each_observation_counts_though_the_name_of_one_begins_anothers(session_of):
    policy = Loader(session_of("names with slashes")).policy()
    observation = {"a": np.array([0.5, -0.5], np.float32), "a/b": np.array([1, 0.25], np.float32)}
    assert {path: array.tolist() for path, array in policy.raw(observation).items()} == {
        "/a": [[0.5, -0.5]], "/a/b": [[1, 0.25]],
    }  # fmt: skip
    values = [policy.value({**observation, name: -observation[name]}) for name in observation]
    assert len({policy.value(observation), *values}) == 3


def test_dqn_values_the_best_of_what_is_allowed(session_of):
    policy = Loader(session_of("dueling with masks")).policy()
    clock = np.eye(4, dtype=np.float32)[0]
    each = policy.agent.policy(policy.agent.observe({"/clock": clock[None]}))[0].tolist()
    for mask in ([1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]):
        best = max(range(4), key=lambda action, mask=mask: each[action] if mask[action] else -np.inf)
        info = {"action_mask": np.array(mask, np.int8)}
        assert policy.value({"clock": clock}, info) == pytest.approx(each[best])
        assert policy({"clock": clock}, info) == best + 10  # actions are numbered from 10
    with pytest.raises(UsageError, match="give the info that came with the observation"):
        policy({"clock": clock})
    with pytest.raises(UsageError, match="give the info that came with the observation"):
        policy.value({"clock": clock})
    with pytest.raises(UsageError, match=r"has the shape \(1, 3\), expected \(1, 4\)"):
        policy({"clock": clock}, {"action_mask": np.ones(3, np.int8)})
    with pytest.raises(WorkerError, match="forbids every action"):
        policy({"clock": clock}, {"action_mask": np.zeros(4, np.int8)})


def test_each_of_several_agents_has_a_policy_that_takes_what_its_players_see(session_of):
    loader = Loader(session_of("players"))
    with pytest.raises(UsageError, match=r"There are the agents x, y\. Name one of them, such as agent='x'"):
        loader.policy()
    with pytest.raises(UsageError, match="There is no agent 'z'"):
        loader.policy(agent="z")
    policies = {name: loader.policy(agent=name) for name in ("x", "y")}
    owner = {player: policy for policy in policies.values() for player in policy.players}
    assert sorted(owner) == ["a", "b", "c"]
    with contextlib.closing(loader.environment()) as game:
        observations, _ = game.reset(seed=0)
        for _ in range(4):
            actions = {player: owner[player](observations[player]) for player in game.agents}
            assert all(game.action_space(player).contains(action) for player, action in actions.items())
            observations, *_ = game.step(actions)
    both = policies["x"](np.zeros((2, 2)))
    assert both.shape == (2,)
    assert both.min() >= 5  # actions are numbered from 5


def test_the_value_of_ppo_needs_no_action_mask(session_of):
    policy = Loader(session_of("shared gru with masks")).policy()
    clock, info = np.eye(4, dtype=np.float32)[0], {"action_mask": np.ones(5, np.int8)}
    assert policy.value(clock) == policy.value(clock, info)
    with pytest.raises(UsageError, match="give the info that came with the observation"):
        policy(clock)


def test_observations_that_are_none_are_refused(session_of, cartpoles):
    policy, dictionary = Loader(cartpoles[0]).policy(), Loader(session_of("gru over everything")).policy()
    endless = [np.array([0, end, 0, 0]) for end in (np.nan, np.inf, 1e300)]
    some = np.float32([[0, 0, 0, 0], [0, 0, np.nan, 0]])
    for wrong in (np.zeros(3), np.zeros((2, 5)), np.zeros((2, 2, 4)), 1.0, np.array(["a"] * 4), *endless, some):
        with pytest.raises(UsageError, match=r"The observation /agent is .* Expected Box"):
            policy(wrong)
        with pytest.raises(UsageError, match=r"The observation /agent is .* Expected Box"):
            policy.value(wrong)
    with pytest.raises(UsageError, match="The observation has no array /body/"):
        dictionary({"camera": np.zeros((12, 10, 3), np.uint8)})
    good = {
        "camera": np.zeros((12, 10, 3), np.uint8), "body": {"position": np.zeros(2), "gear": 1},
        "flags": np.zeros(2, int), "pair": (np.zeros(2, int), 0.5),
    }  # fmt: skip
    assert dictionary(good).shape == (3,)
    with pytest.raises(UsageError, match="The observation /camera is float64"):
        dictionary(good | {"camera": np.zeros((12, 10, 3))})
    with pytest.raises(UsageError, match=r"The observation /flags is int64 \(4, 2\) from 0 to 0\. Expected"):
        dictionary(good | {"flags": np.zeros((4, 2), int)})
    with pytest.raises(UsageError, match=r"The observation /body/gear is int 9\. Expected Discrete"):
        dictionary(good | {"body": {"position": np.zeros(2), "gear": 9}})
