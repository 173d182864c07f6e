"""What runs a group consists of: every combination once, under names that say what differs."""

import pytest

from digideep.launch.plan import check_runs, make_runs
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, MUJOCO, TINY


def names(grid=None, seeds=None, files=(CLASSIC,)):
    return list(make_runs(files, grid or {}, seeds, {}, {}))


def test_every_combination_is_a_run_whose_name_says_what_differs():
    runs = make_runs([CLASSIC], {"lr": [1e-3, 3e-4], "hidden_sizes": [[8], [64, 64]]}, [0, 7], {"gamma": 0.9}, {})
    assert list(runs) == [
        f"lr={lr}_hidden_sizes={sizes}_seed={seed}"
        for lr in ("0.001", "0.0003") for sizes in ("8", "64x64") for seed in (0, 7)
    ]  # fmt: skip
    assert runs["lr=0.0003_hidden_sizes=64x64_seed=7"] == (
        CLASSIC, {"gamma": 0.9, "lr": 3e-4, "hidden_sizes": [64, 64], "seed": 7}, {},
    )  # fmt: skip


def test_files_are_told_apart_and_frames_are_those_of_each_run():
    runs = make_runs([CLASSIC, MUJOCO], {}, [1], {}, {}, total_frames=5_000)
    assert list(runs) == ["params=ppo_classic_seed=1", "params=ppo_mujoco_seed=1"]
    assert [run.cpanel["total_frames"] for run in runs.values()] == [5_000, 5_000]
    lengths = check_runs(runs)
    assert [length.frames >= 5_000 for length in lengths.values()] == [True, True]


def test_paths_of_the_tree_change_the_tree_and_are_named_by_their_last_parts():
    grid = {"/agents/agent/lr": [0.1, 0.2], "/runner/save_int": [3], "/explorer/test/num_workers": [1]}
    runs = make_runs([CLASSIC], grid, None, TINY, {"/runner/test_int": 2})
    assert list(runs) == ["lr=0.1_save_int=3_num_workers=1", "lr=0.2_save_int=3_num_workers=1"]
    assert runs["lr=0.2_save_int=3_num_workers=1"].repeal == {
        "/runner/test_int": 2, "/agents/agent/lr": 0.2, "/runner/save_int": 3, "/explorer/test/num_workers": 1,
    }  # fmt: skip
    assert names({"/explorer/test/num_workers": [1], "/explorer/eval/num_workers": [1, 2]}) == [
        "test.num_workers=1_eval.num_workers=1", "test.num_workers=1_eval.num_workers=2",
    ]  # fmt: skip
    assert names({"lr": [1], "/agents/agent/lr": [2]}) == ["lr=1_agent.lr=2"]


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"model_name": ["ALE/Pong-v5", "../../up"]}, ["model_name=ALE-Pong-v5", "model_name=..-..-up"]),
        ({"lr": [-0.5, 1e-05, True, None]}, ["lr=-0.5", "lr=1e-05", "lr=true", "lr=null"]),
        ({"env_kwargs": [{"g": 1}, {"g": [2, 3]}]}, ["env_kwargs=g=1", "env_kwargs=g=2x3"]),
        ({".x": [1]}, ["run_.x=1"]),
        ({"msg": ["a b", "a-b", "ü"]}, ["0_msg=a-b", "1_msg=a-b", "2_msg=-"]),
        ({"msg": ["a", "A"]}, ["0_msg=a", "1_msg=A"]),  # one file on some systems
        ({"msg": ["x" * 300, "y"]}, [f"0_msg={'x' * 86}", "1_msg=y"]),
    ],
)
def test_names_are_safe_short_and_different(grid, expected):
    assert names(grid) == expected


def test_a_number_of_processes_that_is_left_open_does_not_depend_on_the_cores_of_a_place():
    runs = make_runs([CLASSIC], {"num_processes": [None]}, None, TINY, {})
    check_runs(runs)
    (run,) = runs.values()
    assert run.repeal == {f"/explorer/{name}/num_processes": 0 for name in ("train", "test")}


@pytest.mark.parametrize(
    ("grid", "seeds", "shared", "message"),
    [
        ({"lr": []}, None, {}, "--grid 'lr' must be a list of values, got [].*"),
        ({"lr": 1e-3}, None, {}, "--grid 'lr' must be a list of values, got 0.001."),
        ({"lr": [1e-3, 0.001]}, None, {}, "--grid 'lr' has 0.001 twice."),
        ({"lr": [1e-3]}, None, {"lr": 1e-4}, "'lr' has one value for all runs"),
        ({"seed": [1, 2]}, [1], {}, "--seeds and 'seed' both give seeds"),
        ({}, [1], {"/runner/seed": 3}, "--seeds and '/runner/seed' both give seeds"),
        ({"lr": [0.1 * n for n in range(200)]}, list(range(200)), {}, "make 40,000 runs"),
    ],
)
def test_a_grid_that_is_none_is_refused(grid, seeds, shared, message):
    with pytest.raises(UsageError, match=message.replace("[", r"\[").replace("]", r"\]")):
        make_runs([CLASSIC], grid, seeds, shared, {})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"lrr": [1e-3]}, "lrr=0.001: --grid has the unknown key 'lrr'. Did you mean 'lr'?"),
        ({"lr": [1e-3, "fast"]}, "lr=fast: --grid 'lr' must be a number, got 'fast'."),
        ({"/runner/save_in": [1]}, "save_in=1: --grid '/runner/save_in': there is no 'save_in' under '/runner'."),
        ({"model_name": ["CartPole-v77"]}, "model_name=CartPole-v77: "),
        ({"save_interval": [1, 0]}, "save_interval=0: save_int must be an integer of at least 1, got 0."),
        ({"core_size": [8, 9]}, "core_size=8 and core_size=9 have the same parameters"),
    ],
)
def test_a_run_that_could_not_begin_is_refused_by_its_name(grid, message):
    with pytest.raises(UsageError) as refusal:
        check_runs(make_runs([CLASSIC], grid, None, {}, {}), grid)
    assert str(refusal.value).startswith(message)
