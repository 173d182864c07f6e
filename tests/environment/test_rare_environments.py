"""Rare environments: what they give is done right, or told before or when it does harm."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from digideep.environment.episode_infos import Episode
from digideep.environment.infos import info_template, write_info
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.environment.making.wrappers import describe_wrapper
from digideep.environment.spaces import check_action_mask
from digideep.environment.tools.recording import random_chooser
from digideep.utility.errors import UsageError, WorkerError
from digideep.utility.user_code import in_words
from tests.environment.test_parallel_games import make_explorer as explore_together
from tests.support import rare
from tests.support.helpers import Scripted, make_explorer


@pytest.mark.parametrize("reward", [-np.inf, np.inf, np.nan])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_raw_return_that_is_not_finite_ends_the_run_though_a_wrapper_makes_the_rewards_finite(reward, mode):
    clip = [
        describe_wrapper(gym.wrappers.TransformReward, func=np.nan_to_num)
        if np.isnan(reward)
        else describe_wrapper(gym.wrappers.ClipReward, min_reward=-1, max_reward=1)
    ]
    explorer = make_explorer(
        "Rare-v0", Scripted([0, 0]), mode=mode, env_kwargs={"reward": reward}, norm_wrappers=clip, n_steps=8
    )
    told = rf"worker 0 \(episode seed \d+, step 4, last action 0\) gave rewards whose sum .* is {reward}"
    with pytest.raises(WorkerError, match=told):
        explorer.update()
    explorer.close()


@pytest.mark.parametrize("says", [False, True, 2])
def test_an_environment_may_say_life_lost_in_its_own_sense(says):
    explorer = make_explorer("Rare-v0", Scripted([0, 0]), env_kwargs={"info": {"life_lost": says}}, n_steps=5)
    explorer.update()
    assert explorer.take_episodes() == [Episode(0, 4.0, 4), Episode(1, 4.0, 4)]
    explorer.close()


def test_players_may_see_what_has_a_name_that_begins_another_one():
    explorer = explore_together("tests/slashed", n_steps=2, players={"agent": ["*"]})
    chunk = explorer.update()
    explorer.close()
    assert (chunk["/agents/agent/observations/a"] == 0.5).all()
    assert (chunk["/agents/agent/observations/a/b"] == 2.5).all()


def test_arrays_without_a_number_are_left_out():
    explorer = make_explorer("Slashed-v0", Scripted([0, 0]))
    chunk = explorer.update()
    explorer.close()
    assert [key for key in chunk if key.startswith("/observations")] == ["/observations/a", "/observations/a/b"]
    assert np.ptp(chunk["/observations/a"]) > 0


@pytest.mark.parametrize("num_processes", [0, 1])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("actions", r"actions Box\(.*, \(2,\), float32\), another one Box\("),
        ("shape", r"observations /agent Box\(.*, \(\d+,\), float32\), another one Box\("),
        ("range", r"observations /agent Box\(.*uint8\), another one Box\("),
    ],
)
def test_instances_with_other_spaces_are_refused(what, message, num_processes):
    with pytest.raises(
        WorkerError, match=rf"worker \d: this instance of tests.support.rare:EachItsOwn-v0 has the {message}"
    ):
        make_explorer(
            "tests.support.rare:EachItsOwn-v0", Scripted([0, 0]), env_kwargs={"what": what}, num_processes=num_processes
        )


def test_so_are_games_whose_instances_differ():
    told = r"actions of agent 'agent' Discrete\(\d\), another one Discrete\(\d\)"
    with pytest.raises(WorkerError, match=told):
        explore_together("tests/each-its-own", players={"agent": ["*"]})


@pytest.mark.parametrize(
    ("value", "dtype", "kept"),
    [
        (np.longdouble(1.5), np.float32, 1.5),
        (np.array([1, 2], ">i4"), np.int32, [1, 2]),
        (np.array([0.5], ">f8"), np.float32, [0.5]),
    ],
)
def test_infos_are_kept_in_dtypes_that_a_checkpoint_holds(value, dtype, kept):
    array = info_template("x", value)[None]
    assert (array.dtype, array.dtype.isnative) == (dtype, True)
    write_info(array, 0, "x", {"x": value})
    assert torch.from_numpy(array)[0].tolist() == kept


def test_an_error_that_cannot_be_told_still_says_who_failed_and_when():
    explorer = make_explorer("Failing-v0", Scripted([0, 0]))
    told = r"worker 0 \(episode seed \d+, step 2, last action 0\) failed: Speechless: <exception str\(\) failed>"
    with pytest.raises(WorkerError, match=told):
        explorer.update()
    explorer.close()
    assert in_words(rare.Speechless()) == "Speechless: <exception str() failed>"


def test_a_box_of_whole_numbers_without_dimensions_gets_arrays():
    explorer = make_explorer("Whole-v0", Scripted(np.zeros(2, np.float32)))  # the environment asserts what it gets
    explorer.update()
    state, other = explorer.state_dict(), make_explorer("Whole-v0", Scripted(np.zeros(2, np.float32)))
    assert other.load_state_dict(state) == []
    environment = make_environment(EnvironmentSpec(name="Whole-v0"))
    choose = random_chooser(environment, other.info, np.random.default_rng(0))
    environment.reset(seed=0)
    environment.step(choose({}))
    for each in (explorer, other):
        each.close()


def test_a_mask_with_nan_allows_nothing():
    mask = np.array([[1, 0, 1], [0, np.nan, 1]], np.float32)
    with pytest.raises(WorkerError, match=r"worker 4 gives a mask with NaN .* is \[0.0, nan, 1.0\]. .* be a number"):
        check_action_mask(Discrete(3), mask, np.ones(2, np.bool_), 3)
    allowed = check_action_mask(Discrete(3), mask, np.array([True, False]), 3)
    assert allowed[0].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("switch", "undo", "found"),
    [
        (lambda: torch.set_grad_enabled(False), lambda: torch.set_grad_enabled(True), "gradients switched off"),
        (lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32), "float64"),
    ],
)
def test_settings_of_torch_that_an_environment_leaves_behind_end_the_run_before_anything_is_learned(
    switch, undo, found
):
    explorer = make_explorer("Rare-v0", Scripted([0, 0]), env_kwargs={"switch": switch})
    try:
        with pytest.raises(UsageError, match=f"Code of yours, such as the environment, has left torch's .*{found}"):
            explorer.update()
        with pytest.raises(UsageError, match=found):
            make_explorer("Rare-v0", Scripted([0, 0]))
        make_explorer("Rare-v0", Scripted([0, 0]), keep_trajectory=False).close()  # who only plays may do so
    finally:
        undo()
        explorer.close()
