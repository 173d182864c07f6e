"""Environments that are told how much of a run is done."""

import numpy as np
import pytest

from digideep.environment.explorer import Explorer
from digideep.environment.making.atari import Atari
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.parameters.component import describe
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from tests.support.helpers import Scripted, make_explorer

# Episodes have three steps and a fourth that begins the next one; chunks have three steps, a quarter of the plan.
TOLD = [[0, 0, 0, 0], [0, 0.25, 0.25, 0.25], [0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 0.5, 0.75], [0.75, 0.75, 0.75, 0.75]]
PUPIL = "tests.support.scripted:Pupil-v0"


def teach(**parameters):
    parameters = {"tell_progress": True, "n_steps": 3} | parameters
    explorer = make_explorer(PUPIL, Scripted([0, 1]), **parameters)
    explorer.planned_frames = 24
    return explorer


def seen(explorer):
    progress = explorer.update()["/observations/agent"][:, :, 0]
    assert (progress[0] == progress[1]).all()
    return progress[0].tolist()


@pytest.mark.parametrize(("num_processes", "overlap"), [(0, False), (0, True), (2, True)])
def test_an_episode_is_told_the_progress_at_the_beginning_of_its_chunk(num_processes, overlap):
    explorer = teach(num_processes=num_processes, overlap=overlap)
    assert [seen(explorer) for _ in range(5)] == TOLD
    assert {seen(explorer)[-1] for _ in range(9)} == {1.0}, "beyond the plan it stays"
    explorer.close()


def test_nothing_is_told_unless_that_is_asked_for():
    assert set(seen(teach(tell_progress=False))) == {-1.0}


@pytest.mark.parametrize("mode", ["test", "eval"])
def test_tests_and_films_are_told_that_all_is_done(mode):
    assert set(seen(teach(mode=mode))) == {1.0}


@pytest.mark.parametrize("steps_per_seed", [0, 5])
@pytest.mark.parametrize("overlap", [False, True])
def test_a_restored_explorer_tells_the_same_and_relives_what_was_told(overlap, steps_per_seed):
    parameters = {"overlap": overlap, "steps_per_seed": steps_per_seed}
    explorer = teach(**parameters)
    for done in range(5):
        assert seen(explorer) == TOLD[done]
        other = teach(**parameters)
        assert other.load_state_dict(explorer.state_dict()) == []
        for after in range(done + 1, 5):
            assert seen(other) == TOLD[after]


def test_an_episode_that_was_told_nothing_is_lived_again_without():
    explorer = teach(tell_progress=False)
    explorer.update()
    state = explorer.state_dict()
    for worker in state["workers"].values():
        del worker["told"]  # a checkpoint of before there was such a thing
    other = teach()
    assert other.load_state_dict(state) == []
    assert seen(other) == [-1, 0.25, 0.25, 0.25]


def test_a_parallel_game_is_told_too():
    spec = EnvironmentSpec(
        name="tests/class", from_module="tests.support.scripted", players={"x": ["a", "c"], "y": ["b"]},
        tell_progress=True,
    )  # fmt: skip
    agents = {"x": Scripted([0, 1]), "y": Scripted(np.zeros((1, 2), np.float32))}
    explorer = Explorer("train", agents, spec, inspect_environment(spec), 0, Profiler(), num_workers=1, n_steps=5)
    explorer.planned_frames = 20
    assert [explorer.update()["/agents/x/observations/agent"][0, -1, 0] for _ in range(3)] == [0, 0.25, 0.5]


def test_an_environment_whose_reset_takes_no_options_is_refused():
    with pytest.raises(UsageError, match=r"tell_progress: reset\(\) of .*Stubborn-v0 takes no options"):
        inspect_environment(EnvironmentSpec(name="tests.support.scripted:Stubborn-v0", tell_progress=True))


def test_native_backends_are_refused():
    spec = EnvironmentSpec(name="ALE/Pong-v5", atari=describe(Atari), tell_progress=True)
    with pytest.raises(UsageError, match=r"cannot tell_progress\. Use backend 'gymnasium'"):
        Explorer("train", {"agent": Scripted([0])}, spec, inspect_environment(spec), 0, Profiler(), num_workers=1,
                 n_steps=1, backend="ale")  # fmt: skip
