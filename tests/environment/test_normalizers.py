"""Normalisers against numpy on all data at once, and against numbers worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.environment.running_statistics import RunningMeanStd
from digideep.parameters.component import describe
from digideep.utility.errors import UsageError
from tests.support.helpers import Scripted, make_explorer


def test_merged_batches_have_the_moments_of_all_rows_together():
    data = np.random.default_rng(0).normal(3, 5, (1000, 4))
    running = RunningMeanStd((4,))
    for batch in np.split(data, [1, 10, 300, 301]):
        running.update(batch)
    np.testing.assert_allclose(running.mean, data.mean(0), rtol=1e-5)
    np.testing.assert_allclose(running.var, data.var(0), rtol=1e-5)


def test_a_restored_normaliser_remembers_how_much_it_has_seen():
    running, other = RunningMeanStd(()), RunningMeanStd(())
    running.update(np.zeros(1000))
    other.load_state_dict(running.state_dict())
    other.update(np.array([1001.0]))
    assert other.mean == pytest.approx(1.0, rel=1e-6)


def counter(*wrappers, mode="train", **parameters):
    return make_explorer("Counter-v0", Scripted([0, 0]), mode=mode, wrappers=wrappers, **parameters)


def test_observations_become_standard_and_clipped():
    explorer = counter(describe(VecNormalizeObs, clip=1.5), n_steps=3)
    observations = explorer.update()["/observations/agent"][0, :, 0]
    # Row 2 is 2 when 0, 0, 1, 1, 2, 2 have been seen: mean 1, variance 2/3.
    assert observations[2] == pytest.approx(1 / np.sqrt(2 / 3), rel=1e-3)
    # Row 3 would be 1.5 / sqrt(1.25) = 1.34; the first rows were seen when the spread was still small.
    assert observations[3] == pytest.approx(1.5 / np.sqrt(1.25), rel=1e-3)
    assert np.abs(observations).max() <= 1.5


def test_limit_and_epsilon_of_observations_are_those_that_were_given():
    rows = {"/floats": np.array([[-3.0, 0.0], [5.0, 0.0]], np.float32)}  # mean 1, variance 16; no spread at all
    for clip, epsilon, expected in ((0.6, 1e-8, [-0.6, 0.6]), (9.0, 9.0, [-0.8, 0.8])):
        wrapper = VecNormalizeObs("train", spaces(), paths=["/floats"], clip=clip, epsilon=epsilon)
        seen = wrapper.observe(rows)["/floats"]
        assert seen[:, 0] == pytest.approx(expected, rel=1e-3)
        assert seen[:, 1].tolist() == [0, 0]


def spaces():
    return {
        "/floats": Box(-1, 1, (2,), np.float32),
        "/whole": Box(-9, 9, (2,), np.int64),
        "/bytes": Box(0, 255, (2,), np.uint8),
        "/depth": Box(0, np.inf, (2, 3, 1), np.float32),
        "/pixels": Box(0, 255, (2, 3), np.uint8),
        "/bright": Box(0, 255, (2, 3, 1), np.float32),
        "/choice": Discrete(3),
    }


def test_vectors_of_numbers_are_normalised_and_images_and_choices_are_not():
    assert VecNormalizeObs("train", spaces()).paths == ["/floats", "/whole"]


def test_whole_numbers_become_standard_floats():
    wrapper = VecNormalizeObs("train", spaces(), paths=["/whole", "/bytes"])
    rows = {"/whole": np.array([[-3, 5], [3, 5]]), "/bytes": np.array([[0, 255], [255, 255]], np.uint8)}
    seen = wrapper.observe(rows)
    for path in rows:
        assert seen[path].dtype == np.float32
        assert seen[path][:, 0] == pytest.approx([-1, 1], rel=1e-3)
        assert np.isfinite(seen[path]).all()


def test_an_image_that_is_named_keeps_its_contrast():
    wrapper = VecNormalizeObs("train", spaces(), paths=["/depth"])
    depth = np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1)
    seen = wrapper.observe({"/depth": depth})["/depth"]
    assert seen == pytest.approx((depth - depth.mean()) / depth.std(), rel=1e-3, abs=1e-3)
    assert np.shape(wrapper.state_dict()["/depth"]["mean"]) == ()


@pytest.mark.parametrize("path", ["/pixels", "/bright", "/choice", "/nothing"])
def test_what_bounds_scale_or_is_no_number_is_not_normalised(path):
    with pytest.raises(UsageError, match=r"paths must be one of the observations that can be normalised"):
        VecNormalizeObs("train", spaces(), paths=[path])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"clip": 0.0}, "clip must be a finite number of at least 0.001"),
        ({"epsilon": 0.0}, "epsilon must be .* at least 1e-16"),
    ],
)
def test_what_would_leave_nothing_to_learn_from_is_refused(wrong, expected):
    with pytest.raises(UsageError, match=expected):
        VecNormalizeObs("train", spaces(), **wrong)
    with pytest.raises(UsageError, match=expected):
        VecNormalizeReward("train", 1, gamma=0.9, **wrong)


def test_statistics_of_other_observations_are_refused():
    state = VecNormalizeObs("train", spaces(), paths=["/floats"]).state_dict()
    with pytest.raises(UsageError, match=r"begun with \['/floats'\] normalised, and now \['/floats', '/whole'\] would"):
        VecNormalizeObs("train", spaces()).load_state_dict(state)


def test_rewards_are_divided_by_the_spread_of_discounted_returns():
    explorer = make_explorer(
        "Counter-v0", Scripted([0, 0]), wrappers=[describe(VecNormalizeReward, gamma=0.5, clip=100.0)], n_steps=3
    )
    rewards = explorer.update()["/rewards"][0, :3, 0]
    returns = [1, 1, 2.5, 2.5, 4.25, 4.25]  # G_t = r_t + G_{t-1} / 2, for both workers
    assert rewards[2] == pytest.approx(3 / np.std(returns), rel=1e-3)


def test_limit_and_epsilon_of_rewards_are_those_that_were_given():
    buffers, moved = SimpleNamespace(workers=slice(0, 2), ended=np.zeros(2, np.bool_)), np.ones(2, np.bool_)
    for clip, epsilon, expected in ((0.7, 1e-8, [-0.7, 0.7]), (9.0, 1e-8, [-0.75, 1.25]), (9.0, 9.0, [-0.6, 1.0])):
        wrapper = VecNormalizeReward("train", 2, gamma=0.0, clip=clip, epsilon=epsilon)
        _, rewards = wrapper.step(buffers, {}, np.array([-3, 5], np.float32), moved)  # variance 16
        assert rewards == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("end", [{"env_kwargs": {"length": 2}}, {"limit": 2}], ids=["termination", "truncation"])
def test_an_episode_end_forgets_the_return_and_a_half_step_does_not_count(end):
    wrapper = describe(VecNormalizeReward, gamma=1.0, clip=100.0)
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), wrappers=[wrapper], n_steps=5, **end)
    explorer.update()
    state = explorer.seats["agent"].wrappers[0].state_dict()
    seen = [1, 3, 1, 3]  # the return of steps 1, 2, (half-step), 1, 2 of each worker
    assert state["running"]["count"] == pytest.approx(8, abs=1e-3)
    assert state["running"]["mean"] == pytest.approx(np.mean(seen), rel=1e-3)
    assert state["returns"].tolist() == [0, 0]


def test_a_reset_forgets_the_return():
    wrapper = describe(VecNormalizeReward, gamma=1.0)
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), wrappers=[wrapper], n_steps=2)
    explorer.update()
    assert explorer.seats["agent"].wrappers[0].state_dict()["returns"].tolist() == [3, 3]
    explorer.reset()
    assert explorer.seats["agent"].wrappers[0].state_dict()["returns"].tolist() == [0, 0]


def test_statistics_freeze_outside_training_and_rewards_stay_raw():
    wrappers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
    train, test = counter(*wrappers, n_steps=50), counter(*wrappers, mode="test", n_steps=3)
    train.update()
    test.load_statistics(train.statistics())
    before = test.seats["agent"].wrappers[0].state_dict()["/agent"]["mean"].copy()
    chunk = test.update()
    assert test.seats["agent"].wrappers[0].state_dict()["/agent"]["mean"] == before
    assert chunk["/rewards"][0, :3, 0].tolist() == [1, 2, 3]
    expected = (1 - before) / np.sqrt(train.seats["agent"].wrappers[0].state_dict()["/agent"]["var"])
    assert chunk["/observations/agent"][0, 1] == pytest.approx(expected, rel=1e-5)


def test_pictures_are_left_alone():
    explorer = make_explorer("Nested-v0", Scripted([0, 0]), wrappers=[describe(VecNormalizeObs)], n_steps=2)
    chunk = explorer.update()
    assert chunk["/observations/b/c"].max() == 7
    with pytest.raises(UsageError, match="paths must be one of the observations that can be normalised"):
        make_explorer("Nested-v0", Scripted([0, 0]), wrappers=[describe(VecNormalizeObs, paths=["/b/c"])])


def test_an_explorer_that_follows_another_scales_rewards_as_it_does_and_learns_nothing():
    wrappers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
    train, demo = (counter(*wrappers, mode=mode, n_steps=6) for mode in ("train", "demo"))
    assert demo.update()["/rewards"][0, :6, 0].tolist() == [1, 2, 3, 4, 5, 6]  # raw, until it follows
    train.update()
    before = train.state_dict()["seats"]["agent"]["wrappers"]
    scale = 1 / np.sqrt(before["1"]["running"]["var"] + 1e-8)
    demo.reset()
    demo.follow(train)
    chunk = demo.update()
    np.testing.assert_allclose(chunk["/rewards"][0, :6, 0], np.arange(1, 7) * scale, rtol=1e-5)
    assert train.state_dict()["seats"]["agent"]["wrappers"]["1"]["running"] == before["1"]["running"]
    assert demo.statistics()["agent"]["0"].keys() == train.statistics()["agent"]["0"].keys()
