"""What is logged of an episode's infos. All numbers are worked out by hand."""

import logging

import numpy as np
import pytest

import tests.support.scripted  # noqa: F401  it registers Teller-v0, Lives-v0 and tests/gossip
from digideep.environment.explorer import Explorer
from digideep.environment.making.atari import Atari
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.stepping.worker import Worker
from digideep.parameters.component import describe
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from tests.environment.test_lives import GAME
from tests.support.helpers import Scripted, make_explorer

WAYS = {"dist": "sum", "speed": "mean", "outer/inner": "last", "at_end": "last", "has_hit": "mean"}
INFOS = [
    {"dist": -1, "speed": 2.0, "outer": {"inner": 7}, "has_hit": False, "success": True},
    {"dist": -2.5, "has_hit": np.True_, "outer": {"inner": np.float32(0.5)}},
    {"dist": np.array(-4), "speed": 5.0, "has_hit": False, "at_end": 3, "is_success": np.float32(0.25), "success": 1},
    {"dist": 0.5, "has_hit": True, "is_success": 1.0, "success": None},
]
FIGURES = {"dist": -7.0, "speed": 3.5, "outer/inner": 0.5, "at_end": 3.0, "has_hit": 0.5}


def play(infos, ways, *, n_steps=None, **parameters):
    """An Explorer of Teller-v0 after its first chunk, by default of an episode."""
    parameters |= {"env_kwargs": {"infos": infos}, "episode_infos": ways, "n_steps": n_steps or len(infos)}
    explorer = make_explorer("tests.support.scripted:Teller-v0", Scripted([0, 1]), **parameters)
    explorer.update()
    return explorer


@pytest.mark.parametrize("num_processes", [0, 2])
def test_infos_are_summed_averaged_or_taken_from_the_last_step_that_has_them(num_processes):
    explorer = play(INFOS, WAYS, n_steps=8, num_processes=num_processes)
    episodes = explorer.take_episodes()
    explorer.close()
    assert [(episode.worker, dict(episode.infos), episode.success) for episode in episodes] == [
        (worker, FIGURES, 1.0) for worker in (0, 1)
    ]
    assert episodes[0].columns() == {"is_success": 1.0, **FIGURES}
    assert explorer.info_names == list(WAYS)


def test_success_is_that_of_the_last_step_and_found_without_being_asked_for():
    explorer = play(INFOS[:3], {})
    assert [(episode.infos, episode.success) for episode in explorer.take_episodes()] == [({}, 0.25)] * 2
    assert [type(worker) for worker in explorer.envs._group.workers] == [Worker] * 2, "no step costs anything"
    none = [({"success": value}, None) for value in (None, -1, 2.0)]
    for last, success in (({"is_success": None, "success": True}, 1.0), *none, ({}, None)):
        assert play([{"success": 1}, last], {}).take_episodes()[0].success == success


def test_each_episode_begins_at_nothing_and_goes_on_exactly_after_a_resume():
    parameters = {"env_kwargs": {"infos": INFOS}, "episode_infos": WAYS, "n_steps": 7}
    explorer = make_explorer("tests.support.scripted:Teller-v0", Scripted([0, 1]), **parameters)
    explorer.update()
    state = explorer.state_dict()
    other = make_explorer("tests.support.scripted:Teller-v0", Scripted([0, 1]), **parameters)
    assert other.load_state_dict(state) == []
    other.update()
    episodes = other.take_episodes()
    assert len(episodes) == 6, "one of each worker was not taken before"
    assert [dict(episode.infos) for episode in episodes] == [FIGURES] * 6
    explorer.update()
    assert explorer.take_episodes() == episodes


def test_an_end_that_is_under_way_when_a_run_is_saved_keeps_its_figures():
    parameters = {"env_kwargs": {"infos": INFOS}, "episode_infos": WAYS, "n_steps": 1, "overlap": True}
    explorer = make_explorer("tests.support.scripted:Teller-v0", Scripted([0, 1]), **parameters)
    for _ in range(3):
        explorer.update()
    state = explorer.state_dict()  # the fourth step, the last of the episode, has been taken and not been looked at
    assert state["finished"] == []
    other = make_explorer("tests.support.scripted:Teller-v0", Scripted([0, 1]), **parameters)
    other.load_state_dict(state)
    other.update()
    assert [dict(episode.infos) for episode in other.take_episodes()] == [FIGURES] * 2


def test_of_a_game_with_lives_the_whole_game_counts():
    ways = {"lives": "sum"}
    explorer = make_explorer("Lives-v0", Scripted([0, 0]), env_kwargs={"steps": GAME}, n_steps=9, episode_infos=ways)
    explorer.update()
    lives = sum(left for _, left, _ in GAME)  # those of steps within a reset, too
    assert [dict(episode.infos) for episode in explorer.take_episodes()] == [{"lives": lives}] * 2


def gossip(ways, **parameters):
    spec = EnvironmentSpec(
        name="tests/gossip", from_module="tests.support.scripted", players={"x": ["a", "c"], "y": ["b"]},
        episode_infos=ways,
    )  # fmt: skip
    agents = {"x": Scripted([0, 1, 2, 2]), "y": Scripted(np.zeros((4, 2), np.float32))}
    return Explorer("train", agents, spec, inspect_environment(spec), 0, Profiler(), num_workers=2, **parameters)


@pytest.mark.parametrize("ways", [{}, {"steps": "sum", "own": "mean"}])
def test_each_player_has_its_own_infos_and_the_success_of_its_own_last_step(ways, caplog):
    explorer = gossip(ways, n_steps=9)
    explorer.update()
    # Player a leaves after step 2, b after 3, c after 4.
    infos = {"a/steps": 3.0, "a/own": 0.5, "c/steps": 10.0, "b/steps": 6.0} if ways else {}
    for episode in explorer.take_episodes():
        assert episode.infos == infos
        assert episode.player_successes == {"a": 0.0, "b": 1.0}
        assert episode.success == 0.5
    assert explorer.info_names == [f"{player}/{key}" for player in "acb" for key in ways]
    assert caplog.messages == [], "no word of c, which has no 'own'"


def test_what_is_no_finite_number_or_not_there_is_left_out_with_one_warning(caplog):
    infos = [{"x": 1.0, "y": 1}, {"x": "nan", "y": [1], "z": 5, "success": "yes"}]
    explorer = play(infos, {"x": "sum", "y": "last", "z": "last", "typo": "sum"}, n_steps=9)
    with caplog.at_level(logging.WARNING, "digideep"):
        episodes = explorer.take_episodes()
        explorer.update()
        episodes += explorer.take_episodes()
    assert len(episodes) > 2
    assert {(tuple(episode.infos.items()), episode.success) for episode in episodes} == {((("z", 5.0),), None)}
    assert sorted(message.split(": ", 1)[1] for message in caplog.messages) == [
        "info['typo'], which episode_infos asks for, is not there. It is not logged.",
        "info['x'] is no finite number. It is not logged.",
        "info['y'] is no finite number. It is not logged.",
        "its success is no number in [0, 1]. It is not logged.",
    ]


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        (["x"], r"episode_infos must be a dictionary such as \{'reward_dist': 'sum'\}, got \['x'\]"),
        ({"x": "max"}, "episode_infos: 'x' must be sum, mean or last, got 'max'"),
        ({"x": None}, "episode_infos: 'x' must be sum, mean or last, got null"),
        ({"r": "sum"}, r"episode_infos: a key must be none of r, l, t, the first columns of monitor/\*.csv, got 'r'"),
        ({"/": "sum"}, "episode_infos: a key of the info must be a printable name, got '/'"),
        ({"word": "sum"}, "episode_infos: 'word' of the info must be a number or a boolean, got 'hello'"),
        ({"many": "sum"}, r"episode_infos: 'many' of the info must be a number or a boolean, got \[1\]"),
        ({"outer": "sum"}, "episode_infos: 'outer' of the info must be a number or a boolean, got {'inner': 1}"),
        ({"late": "sum"}, "episode_infos: 'late' of the info must be a number or a boolean, got 'too'"),
    ],
)
def test_what_cannot_be_logged_is_refused_in_one_line(ways, message):
    kwargs = {"first": {"word": "hello", "many": [1], "outer": {"inner": 1}}, "infos": [{"late": "too"}]}
    with pytest.raises(UsageError, match=message):
        inspect_environment(EnvironmentSpec(name="tests.support.scripted:Teller-v0", kwargs=kwargs, episode_infos=ways))


def test_the_infos_of_players_are_looked_at_as_well():
    spec = EnvironmentSpec(
        name="tests/turnstile", from_module="tests.support.parallel", players={"x": ["*"]},
        episode_infos={"action_mask": "sum"},
    )  # fmt: skip
    with pytest.raises(UsageError, match="episode_infos: 'action_mask' of the info must be a number"):
        inspect_environment(spec)


def test_native_backends_keep_no_infos():
    spec = EnvironmentSpec(name="ALE/Pong-v5", atari=describe(Atari), episode_infos={"lives": "last"})
    with pytest.raises(UsageError, match=r"keeps no infos\. Use backend 'gymnasium' for episode_infos lives"):
        Explorer("train", {"agent": Scripted([0])}, spec, inspect_environment(spec), 0, Profiler(), num_workers=1,
                 n_steps=1, backend="ale")  # fmt: skip
