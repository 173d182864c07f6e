"""Atari games: preprocessing by hand, lost lives, raw scores, re-living several episodes of one seed."""

import sys

import cv2
import gymnasium as gym
import numpy as np
import pytest

from digideep.environment.explorer import Explorer
from digideep.environment.making.atari import Atari, register_games
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.normalizers import VecSignReward
from digideep.environment.stepping.vector_environment import VectorEnvironment
from digideep.environment.stepping.worker import Worker, WorkerPlan
from digideep.parameters.component import describe
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from tests.support.helpers import Scripted

PLAIN = {"repeat_action_probability": 0.0, "noop_max": 0}


def atari(name="ALE/Breakout-v5", *, limit=None, steps_per_seed=0, wrappers=(), **rules):
    return EnvironmentSpec(
        name=name,
        max_episode_steps=limit,
        steps_per_seed=steps_per_seed,
        vect_wrappers=list(wrappers),
        atari=describe(Atari, **(PLAIN | rules)),
    )


def raw_game(name="ALE/Breakout-v5"):
    register_games()
    return gym.make(name, frameskip=1, repeat_action_probability=0.0, disable_env_checker=True)


def test_an_action_is_repeated_and_the_last_two_frames_are_merged_and_shrunk():
    game, raw = make_environment(atari()), raw_game()
    first, _ = game.reset(seed=3)
    raw.reset(seed=3)
    assert first.shape == (4, 84, 84)
    assert first.dtype == np.uint8
    assert (first == first[0]).all()  # before the first frame, that frame again
    for step, action in enumerate([1, 2, 2, 3, 0, 3, 3, 2] * 4):
        frames, rewards = [], []
        for _ in range(4):
            _, reward, *_ = raw.step(action)
            frames.append(raw.unwrapped.ale.getScreenGrayscale())
            rewards.append(reward)
        observation, reward, *_ = game.step(action)
        merged = cv2.resize(np.maximum(frames[2], frames[3]), (84, 84), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(observation[-1], merged, err_msg=f"step {step}")
        assert reward == sum(rewards)


def test_a_game_begins_with_a_random_number_of_no_ops():
    game = make_environment(atari("ALE/Pong-v5", noop_max=30))
    counts = [game.reset(seed=seed)[1]["episode_frame_number"] for seed in range(4)]
    assert all(1 <= count <= 30 for count in counts)
    assert len(set(counts)) > 1


def test_sticky_actions_repeat_the_action_before():
    """With probability 1 the first action, doing nothing, is repeated for ever: no other one has any effect."""
    sticky, still = make_environment(atari(repeat_action_probability=1.0)), make_environment(atari())
    sticky.reset(seed=0)
    still.reset(seed=0)
    for _ in range(10):
        np.testing.assert_array_equal(sticky.step(2)[0], still.step(0)[0])


def test_the_action_set_size_colours_and_stack_are_parameters():
    info = inspect_environment(atari(full_action_space=True, screen_size=42, grayscale=False, frame_stack=2))
    assert info.action_space == gym.spaces.Discrete(18)
    assert info.observation_spaces["/agent"].shape == (2, 42, 42, 3)
    assert inspect_environment(atari()).action_space == gym.spaces.Discrete(4)


def test_the_time_limit_counts_steps_and_truncates():
    game = make_environment(atari(limit=5))
    game.reset(seed=0)
    assert [game.step(0)[2:4] for _ in range(5)] == [(False, False)] * 4 + [(False, True)]
    assert make_environment(atari()).spec.max_episode_steps == 27_000
    assert make_environment(atari(frame_skip=1)).spec.max_episode_steps == 108_000


def test_a_lost_life_ends_an_episode_for_the_learner_but_not_the_game():
    spec = atari(terminal_on_life_loss=True, fire_on_reset=True)
    environment = VectorEnvironment(WorkerPlan(spec, 0, "train"), inspect_environment(spec), 1, 0, 60)
    environment.reset()
    rows, lost, rewards, steps = environment.buffers, 0, 0.0, 0
    (frames,) = rows.observations.values()
    generator = np.random.default_rng(0)
    while not rows.finished[0]:
        was_ended = bool(rows.ended[0])
        rows.actions[:] = generator.integers(4, size=1)
        environment.send(rows)
        environment.receive(rows)
        rewards, steps = rewards + rows.rewards[0], steps + (not was_ended)
        if was_ended:
            assert not rows.ended[0]
            assert rows.rewards[0] == 0
            assert (frames[0] == frames[0, 0]).all()  # a new episode: nothing of the one before is seen
        if rows.ended[0]:
            assert rows.terminations[0]
            lost += 1
        assert rows.returns[0] == rewards  # goes on over all lives
        assert rows.lengths[0] == steps
    assert lost == 5
    environment.close()


def test_a_lost_life_goes_unnoticed_without_the_parameter():
    spec = atari(fire_on_reset=True)
    environment = VectorEnvironment(WorkerPlan(spec, 0, "train"), inspect_environment(spec), 1, 0, 60)
    environment.reset()
    rows, generator = environment.buffers, np.random.default_rng(0)
    lives = set()
    while not rows.ended[0]:
        rows.actions[:] = generator.integers(4, size=1)
        environment.send(rows)
        environment.receive(rows)
        lives.add(environment._group.workers[0].environment.unwrapped.ale.lives())
    assert lives == {5, 4, 3, 2, 1, 0}
    environment.close()


def test_the_learner_sees_the_sign_of_rewards_and_what_is_logged_is_raw():
    spec = atari("ALE/MsPacman-v5", limit=100, wrappers=[describe(VecSignReward)])  # a pill: 10 points
    agent = Scripted([3])
    explorer = Explorer("train", {"agent": agent}, spec, inspect_environment(spec), 0, Profiler(), num_workers=1,
                        n_steps=100)  # fmt: skip
    rewards = explorer.update()["/rewards"]
    (episode,) = explorer.take_episodes()
    assert set(np.unique(rewards)) == {0.0, 1.0}
    assert episode.episode_return >= 10 * rewards.sum() > 0
    explorer.close()


def test_rewards_become_their_sign():
    rewards = np.array([-7.0, -0.5, 0.0, 3.0], np.float32)
    signs = VecSignReward().step(None, {}, rewards, None)[1]
    assert signs.tolist() == [-1, -1, 0, 1]
    assert signs.dtype == np.float32
    assert rewards.tolist() == [-7.0, -0.5, 0.0, 3.0]


@pytest.mark.parametrize(
    ("spec", "num_actions"),
    [
        (atari(limit=60, steps_per_seed=100, noop_max=30, repeat_action_probability=0.25, terminal_on_life_loss=True,
               fire_on_reset=True), 4),
        (EnvironmentSpec(name="Counter-v0", from_module="tests.support.environments", kwargs={"length": 7},
                         steps_per_seed=20),
         None),
    ],
    ids=["Breakout", "Counter"],
)  # fmt: skip
def test_several_episodes_of_one_seed_are_lived_again_exactly(spec, num_actions):
    generator = np.random.default_rng(1)
    actions = generator.integers(num_actions, size=240) if num_actions else np.full(240, 5)
    worker, other = (Worker(WorkerPlan(spec, seed, "train"), 0, np.zeros((1, 1))) for seed in (0, 1))

    def play(one, index):
        if one.is_ended:
            return one.go_on(), 0.0, False
        return one.step(actions[index])

    def look(one):
        return one.is_ended, one.is_finished, one.episode_return, one.episode_length, one.episode_seed

    worker.reset()
    seeds, resets = {worker.episode_seed}, 0
    for index in range(230):
        played = play(worker, index)
        seeds.add(worker.episode_seed)
        resets = max(resets, len(worker.resets))
        if index in (90, 150, 161, 221):  # amid an episode, or at its end
            again, _, _ = other.load_state_dict(worker.state_dict())
            np.testing.assert_array_equal(again, played[0])
            assert look(other) == look(worker)
            for later in range(index + 1, index + 4):
                ours, theirs = play(worker, later), play(other, later)
                np.testing.assert_array_equal(ours[0], theirs[0])
                assert ours[1:] == theirs[1:]
    assert len(seeds) > 1
    assert resets > 1
    # What is remembered stays below the limit and one episode.
    assert len(worker.actions) < spec.steps_per_seed + (spec.max_episode_steps or 7)


def test_a_seed_serves_episodes_until_so_many_steps_were_taken():
    spec = EnvironmentSpec(
        name="Counter-v0", from_module="tests.support.environments", kwargs={"length": 5}, steps_per_seed=10
    )
    worker, seeds = Worker(WorkerPlan(spec, 0, "train"), 0, np.zeros((1, 1))), []
    worker.reset()
    for _ in range(5):
        seeds.append(worker.episode_seed)
        while not worker.is_ended:
            worker.step(5)
        worker.go_on()
    assert [seed == seeds[0] for seed in seeds] == [True, True, False, False, False]
    assert [seed == seeds[2] for seed in seeds] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"frame_skip": 0}, r"frame_skip must be an integer in \[1, 1000\], got 0"),
        ({"repeat_action_probability": 2}, r"repeat_action_probability must be a number in \[0, 1\], got 2"),
        ({"grayscale": "no"}, "grayscale must be true or false, got 'no'"),
        ({"name": "ALE/Pongg-v5"}, "Unknown environment 'ALE/Pongg-v5'. Did you mean 'ALE/Pong-v5'"),
        ({"name": "CartPole-v1"}, "'CartPole-v1' is no Atari game. Expected one such as 'ALE/Pong-v5'"),
    ],
)
def test_what_is_no_game_is_refused_in_one_line(rules, message):
    with pytest.raises(UsageError, match=message) as caught:
        inspect_environment(atari(**rules))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["ale_py", "cv2"])
def test_a_missing_package_is_named_with_what_to_install(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself does where a package must not be imported
    with pytest.raises(UsageError, match=rf"{package}.*pip install 'digideep\[atari\]'"):
        inspect_environment(atari("ALE/Pong-v5"))
