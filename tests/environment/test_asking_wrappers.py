"""Wrappers are given what their constructors ask for: mode, worker, seed and the run's progress."""

import pytest

from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.making.wrappers import describe_wrapper
from digideep.parameters.component import describe
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks
from tests.environment.test_curriculum import TOLD
from tests.support.helpers import Scripted, make_explorer
from tests.support.wrapping import Asking, Counting, Fading, Own

PUPIL = "tests.support.scripted:Pupil-v0"  # episodes of three steps


def ask(**parameters):
    """An explorer whose observations are [progress, worker, seed, test]."""
    parameters = {"n_steps": 3, "norm_wrappers": [describe_wrapper(Asking)]} | parameters
    explorer = make_explorer(PUPIL, Scripted([0, 1]), **parameters)
    explorer.planned_frames = 24
    return explorer


def seen(explorer):
    return explorer.update()["/observations/agent"]


@pytest.mark.parametrize(("mode", "num_processes"), [("train", 0), ("test", 2)])
def test_a_wrapper_is_given_mode_worker_and_seed(mode, num_processes):
    explorer = ask(mode=mode, seed=5, num_processes=num_processes)
    assert seen(explorer)[:, -1, 1:].tolist() == [[0, 5, mode == "test"], [1, 5, mode == "test"]]
    explorer.close()


def test_workers_of_other_ranks_are_counted_through():
    spec = EnvironmentSpec(name=PUPIL, norm_wrappers=[describe_wrapper(Asking)])
    explorer = Explorer("train", {"agent": Scripted([0, 1])}, spec, inspect_environment(spec), 0, Profiler(),
                        num_workers=2, n_steps=1)  # fmt: skip
    assert seen(explorer)[:, 0, 1].tolist() == [0, 1]
    explorer = Explorer("train", {"agent": Scripted([0, 1])}, spec, inspect_environment(spec), 0, Profiler(),
                        ranks=Ranks(rank=1, size=1), num_workers=2, n_steps=1)  # fmt: skip
    assert seen(explorer)[:, 0, 1].tolist() == [2, 3]


@pytest.mark.parametrize("tell_progress", [False, True])
@pytest.mark.parametrize("overlap", [False, True])
def test_a_wrapper_can_ask_for_the_progress_its_episode_was_told_and_a_resume_tells_it_again(overlap, tell_progress):
    parameters = {"overlap": overlap, "tell_progress": tell_progress}
    explorer = ask(**parameters)
    for done in range(5):
        assert seen(explorer)[0, :, 0].tolist() == TOLD[done]
        other = ask(**parameters)
        assert other.load_state_dict(explorer.state_dict()) == []
        for after in range(done + 1, 5):
            assert seen(other)[1, :, 0].tolist() == TOLD[after]


def test_tests_and_those_who_only_look_are_told_that_all_is_done():
    assert set(seen(ask(mode="test"))[0, :, 0].tolist()) == {1.0}
    spec = EnvironmentSpec(name=PUPIL, norm_wrappers=[describe_wrapper(Asking, scale=2.0)])
    assert make_environment(spec).reset(seed=0)[0].tolist() == [2, 0, 0, 0]


def test_the_environment_is_told_only_if_the_tree_says_so():
    stack = [describe_wrapper(Asking)]
    explorer = ask(norm_wrappers=stack)
    explorer.update()
    assert [worker.environment.unwrapped.progress for worker in explorer.envs._group.workers] == [-1, -1]


def test_parameters_of_these_names_stay_parameters():
    spec = EnvironmentSpec(name=PUPIL, norm_wrappers=[describe_wrapper(Own, seed=3)])
    assert make_environment(spec).own == ("own", 3)


def test_a_wrapper_around_the_workers_asks_for_seed_and_progress_too():
    explorer = make_explorer("Counter-v0", Scripted([0, 1]), n_steps=2, seed=3, wrappers=[describe(Fading)])
    explorer.planned_frames = 16
    rewards = [explorer.update()["/rewards"][0, :2, 0].tolist() for _ in range(3)]
    assert rewards == [[1 + 3, 2 + 3], [0.75 * 3 + 3, 0.75 * 4 + 3], [0.5 * 5 + 3, 0.5 * 6 + 3]]
    other = make_explorer("Counter-v0", Scripted([0, 1]), n_steps=2, seed=3, wrappers=[describe(Fading)])
    other.planned_frames = 16
    other.load_state_dict(explorer.state_dict())
    assert other.update()["/rewards"].tolist() == explorer.update()["/rewards"].tolist()


def test_native_backends_have_no_environments_to_wrap():
    with pytest.raises(UsageError, match=r"EnvPool hides its environments.*norm_wrappers"):
        make_explorer("Pendulum-v1", Scripted([0]), backend="envpool", norm_wrappers=[describe_wrapper(Own)])


@pytest.mark.parametrize(("num_processes", "steps_per_seed"), [(0, 0), (2, 0), (0, 5)])
def test_a_wrapper_can_ask_for_the_number_of_its_episode_and_a_resume_counts_on(num_processes, steps_per_seed):
    changes = {"num_processes": num_processes, "steps_per_seed": steps_per_seed}
    explorer = ask(norm_wrappers=[describe_wrapper(Counting)], **changes)
    told = [seen(explorer)[1, :, 0].tolist() for _ in range(3)]
    assert told == [[0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 2, 2]]  # episodes of three steps, and the row that begins one
    other = ask(norm_wrappers=[describe_wrapper(Counting)], **changes)
    assert other.load_state_dict(explorer.state_dict()) == []
    for _ in range(3):
        assert seen(other).tolist() == seen(explorer).tolist()
    for each in (explorer, other):
        each.close()
