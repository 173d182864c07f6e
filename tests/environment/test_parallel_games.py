"""Several players in one environment: their rows, who leaves early, who plays whom, and how it is refused."""

import sys
from typing import ClassVar

import numpy as np
import pytest

import tests.support.scripted  # noqa: F401  it registers tests/late
from digideep.environment.explorer import Episode, Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.making.players import assign_players
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.parameters.component import describe
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError, WorkerError
from tests.support.helpers import Scripted
from tests.support.parallel import Meeting

PLAYERS = {"x": ["a", "c"], "y": ["b"]}


class Anyhow:
    """An agent that plays at random, in a way that depends on what it sees: a wrong observation shows."""

    takes_warm_start = True
    acts_in_parts = True
    seeds: ClassVar = {}

    def __init__(self, space):
        self.space = space

    def reset_hidden_state(self, num_workers):
        return np.zeros((num_workers, 1), np.float32)

    def action_generator(self, observations, hidden_state, masks, deterministic):
        seen = sum(array.reshape(len(masks), -1).sum(1, np.float64) for array in observations.values())
        phase = np.cos(1000 * (seen + hidden_state[:, 0]))
        shape = self.space.shape
        actions = np.repeat(phase[:, None], shape[0], 1).astype(np.float32) if shape else np.abs(phase * 2).astype(int)
        return {"actions": actions, "hidden_state": hidden_state + 1}


def spec_of(name="tests/roster", players=None, module="tests.support.parallel", **more):
    players = players or (PLAYERS if name == "tests/roster" else {"agent": ["*"]})
    return EnvironmentSpec(name=name, from_module=module, players=players, **more)


def make_explorer(name="tests/roster", *, players=None, agents=None, mode="train", limit=None, wrappers=(), kwargs=None,
                  info_keys=(), **parameters):  # fmt: skip
    spec = spec_of(name, players, kwargs=kwargs or {}, max_episode_steps=limit, vect_wrappers=list(wrappers),
                   info_keys=list(info_keys))  # fmt: skip
    info = inspect_environment(spec)
    agents = agents or {agent: Anyhow(part.agent_action_space) for agent, part in info.agents.items()}
    parameters = {"num_workers": 2, "n_steps": 6} | parameters
    return Explorer(mode, agents, spec, info, 0, Profiler(), **parameters)


def column(chunk, key, row):
    return chunk[key][row, :, 0].astype(int).tolist()


@pytest.mark.parametrize("num_processes", [0, 2])
def test_players_that_leave_early_have_half_steps_until_the_episode_is_over_for_all(num_processes):
    explorer = make_explorer(num_processes=num_processes)
    chunk, x, y = explorer.update(), "/agents/x", "/agents/y"
    assert column(chunk, "/masks", 0) == [1, 1, 1, 1, 0, 1, 1]
    # Rows of x are a and c of worker 0, a and c of worker 1. Player a terminates in step 2 and keeps what it saw last.
    assert chunk[f"{x}/observations/agent"][:, 0, 1].tolist() == [0, 2, 0, 2]
    for row in (0, 2):
        assert column(chunk, f"{x}/observations/agent", row) == [0, 1, 2, 2, 2, 0, 1]
        assert column(chunk, f"{x}/masks", row) == [1, 1, 0, 0, 0, 1, 1]
        assert column(chunk, f"{x}/rewards", row)[:6] == [1, 2, 0, 0, 0, 1]
        assert column(chunk, f"{x}/terminations", row)[:6] == [0, 1, 0, 0, 0, 0]
    assert column(chunk, f"{x}/observations/agent", 3) == [0, 1, 2, 3, 4, 0, 1]
    assert column(chunk, f"{x}/masks", 3) == [1, 1, 1, 1, 0, 1, 1]
    assert column(chunk, f"{x}/rewards", 3)[:6] == [100, 200, 300, 400, 0, 100]
    assert column(chunk, f"{x}/terminations", 3)[:6] == [0, 0, 0, 1, 0, 0]
    # Player b is truncated in step 3: its last observation is the true one, and nothing terminates.
    assert column(chunk, f"{y}/observations/line", 1) == [0, 1, 2, 3, 3, 0, 1]
    assert chunk[f"{y}/observations/image"].dtype == np.uint8
    assert chunk[f"{y}/observations/image"][1, :, 1, 1].tolist() == [0, 1, 2, 3, 3, 0, 1]
    assert column(chunk, f"{y}/masks", 1) == [1, 1, 1, 0, 0, 1, 1]
    assert column(chunk, f"{y}/rewards", 1)[:6] == [10, 20, 30, 0, 0, 10]
    assert not chunk[f"{y}/terminations"].any()
    assert chunk[f"{x}/actions"].shape == (4, 7)
    assert chunk[f"{y}/actions"].shape == (2, 7, 2)
    returns = {"a": 3.0, "b": 60.0, "c": 1000.0}
    for episode, worker in zip(explorer.take_episodes(), (0, 1), strict=True):
        assert episode == Episode(worker, 1063.0, 4, returns)
    explorer.close()


def test_hidden_states_are_zero_where_a_player_begins():
    chunk = make_explorer().update()
    hidden = chunk["/agents/x/hidden_state"][0, :6, 0], chunk["/agents/x/masks"][0, :6, 0]
    assert hidden[0][hidden[1]].tolist() == [0, 1, 0]
    assert column(chunk, "/agents/x/hidden_state", 1)[:6] == [0, 1, 2, 3, 4, 0]


def test_the_hidden_state_of_a_player_that_comes_late_is_zero_and_it_counts_from_then_on():
    wrapper = describe(VecNormalizeObs)
    explorer = make_explorer("tests/late", players=PLAYERS, wrappers=[wrapper], n_steps=4)
    chunk = explorer.update()
    assert column(chunk, "/agents/x/masks", 0) == [0, 0, 1, 1, 0]
    assert column(chunk, "/agents/x/hidden_state", 0)[:4] == [0, 0, 0, 1]
    assert column(chunk, "/agents/x/hidden_state", 1)[:4] == [0, 1, 2, 3]
    # In each worker: a was seen at 3 rows, c at 5.
    assert explorer.statistics()["x"]["0"]["/agent"]["count"] == pytest.approx(16, abs=1e-3)


def test_each_player_gets_its_own_action_in_its_own_space():
    agents = {"x": Scripted([0, 1, 2, 2]), "y": Scripted(np.array([[-3.0, 0.5], [1.0, -1.0]], np.float32))}
    explorer = make_explorer(agents=agents, n_steps=1)
    chunk = explorer.update()
    first, second = (worker.environment.environment.asked[0] for worker in explorer.envs._group.workers)
    assert (first["a"], first["c"], first["b"].tolist()) == (5, 6, [0.0, 3.0])
    assert (second["a"], second["c"], second["b"].tolist()) == (7, 7, [4.0, 0.0])
    assert chunk["/agents/y/actions"][:, 0].tolist() == [[-3.0, 0.5], [1.0, -1.0]], "stored as chosen"


def test_a_time_limit_truncates_whoever_is_there():
    explorer = make_explorer(limit=3, n_steps=5)
    chunk = explorer.update()
    assert column(chunk, "/masks", 0) == [1, 1, 1, 0, 1, 1]
    assert column(chunk, "/agents/x/masks", 0) == [1, 1, 0, 0, 1, 1]
    assert column(chunk, "/agents/x/masks", 1) == [1, 1, 1, 0, 1, 1]
    assert column(chunk, "/agents/x/terminations", 0)[:5] == [0, 1, 0, 0, 0]
    assert not chunk["/agents/x/terminations"][1].any()


@pytest.mark.parametrize(
    ("leave", "limit", "ends"),
    [
        (None, None, (True, False)),  # the last one terminates; the one that was truncated has left before
        ({"a": (1, False), "b": (1, False), "c": (1, False)}, None, (False, True)),
        ({}, 2, (False, True)),
        ({"a": (2, True), "b": (2, True)}, 2, (False, True)),  # c could have gone on
        ({"a": (2, True), "b": (2, True), "c": (2, True)}, 2, (True, False)),
    ],
)
def test_a_game_is_truncated_if_somebody_could_have_gone_on_at_its_end(leave, limit, ends):
    kwargs = {} if leave is None else {"leave": leave}
    game, generator = make_environment(spec_of(kwargs=kwargs, max_episode_steps=limit)), np.random.default_rng(0)
    game.reset(seed=0)
    seen = (False, False)
    while not any(seen):
        seen = game.step(game.sample(generator))[2:4]
    assert seen == ends


def test_returns_of_players_begin_at_nothing_in_each_episode():
    explorer = make_explorer(n_steps=10)  # of two episodes, 4 steps each
    explorer.update()
    returns = {"a": 3.0, "b": 60.0, "c": 1000.0}
    assert [(episode.episode_return, episode.player_returns) for episode in explorer.take_episodes()] == [
        (1063.0, returns)
    ] * 4


def test_a_reward_normaliser_forgets_the_return_of_a_player_that_has_left():
    explorer = make_explorer(wrappers=[describe(VecNormalizeReward, gamma=1.0)], n_steps=2)
    explorer.update()
    state = explorer.state_dict()["seats"]["x"]["wrappers"]["0"]
    assert state["returns"].tolist() == [0, 300, 0, 300]  # a has terminated in this very step


def test_a_player_that_does_not_come_takes_no_part():
    explorer = make_explorer(kwargs={"absent": ["a"]})
    chunk = explorer.update()
    assert not chunk["/agents/x/masks"][0].any()
    assert not chunk["/agents/x/rewards"][0].any()
    assert chunk["/agents/x/masks"][1, :4].all()
    assert explorer.take_episodes()[0].player_returns == {"a": 0.0, "b": 60.0, "c": 1000.0}


def test_normalisers_learn_from_each_observation_once_and_for_each_agent_by_itself():
    wrappers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
    explorer = make_explorer(wrappers=wrappers)
    explorer.update()
    statistics = explorer.statistics()
    # In each worker: a was seen at 3 + 2 rows, c at 5 + 2; b at 4 + 2. Row 4 of the chunk is c's last observation.
    seen = statistics["x"]["0"]["/agent"]
    assert seen["count"] == pytest.approx(24, abs=1e-3)
    assert seen["mean"][1] == pytest.approx(2 * 14 / 24, abs=1e-4)
    assert statistics["y"]["0"]["/line"]["count"] == pytest.approx(12, abs=1e-3)
    state = explorer.state_dict()["seats"]
    assert state["x"]["wrappers"]["1"]["running"]["count"] == pytest.approx(2 * (2 + 4 + 2 * 1), abs=1e-3)
    assert state["y"]["wrappers"]["1"]["running"]["count"] == pytest.approx(2 * (3 + 1), abs=1e-3)
    other = make_explorer(mode="test", wrappers=wrappers)
    other.load_statistics(statistics)
    assert other.statistics()["x"]["0"]["/agent"]["mean"].tolist() == seen["mean"].tolist()


GAMES = [
    ("tests/roster", {}, PLAYERS),
    ("mpe2/simple_spread_v3", {}, {"agent": ["*"]}),
    ("mpe2/simple_tag_v3", {"continuous_actions": True}, {"hunter": ["adversary_*"], "hunted": ["agent_0"]}),
    ("mpe2/simple_speaker_listener_v4", {}, {"speaker": ["speaker_0"], "listener": ["listener_0"]}),
    ("pettingzoo/sisl/multiwalker_v9", {}, {"walker": ["*"]}),
    ("pettingzoo/butterfly/knights_archers_zombies_v11", {}, {"archer": ["archer_*"], "knight": ["knight_*"]}),
]


def assert_resumes_exactly(make):
    explorer = make()
    explorer.update()
    state, expected = explorer.state_dict(), [explorer.update() for _ in range(3)]
    other = make()
    assert other.load_state_dict(state) == []
    for chunk in expected:
        repeated = other.update()
        assert repeated.keys() == chunk.keys()
        for key, array in chunk.items():
            np.testing.assert_array_equal(array, repeated[key], key)
    return explorer, other


@pytest.mark.parametrize(("name", "kwargs", "players"), GAMES, ids=[game[0] for game in GAMES])
def test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode(name, kwargs, players):
    def make():
        wrappers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
        return make_explorer(name, kwargs=kwargs, players=players, n_steps=17, wrappers=wrappers)

    explorer, other = assert_resumes_exactly(make)
    assert other.take_episodes()[-3:] == explorer.take_episodes()[-3:]
    explorer.close()
    other.close()


TURNSTILE = {"name": "tests/turnstile", "info_keys": ["action_mask", "steps"]}


@pytest.mark.parametrize("place", ["info", "observation"])
def test_each_player_has_its_own_infos_and_action_mask_wherever_the_game_keeps_it(place):
    agents = {"one": Scripted([0, 1]), "two": Scripted([1, 0])}
    players = {"one": ["first"], "two": ["second"]}
    explorer = make_explorer(**TURNSTILE, players=players, kwargs={"place": place}, warm_start=100, agents=agents,
                             n_steps=6)  # fmt: skip
    assert explorer.info.of_agent("one").infos.keys() == {"/action_mask", "/steps"}
    assert explorer.info.of_agent("two").infos.keys() == {"/action_mask"}, "its info has no steps"
    assert explorer.info.of_agent("two").observation_spaces.keys() == {"/agent" if place == "info" else "/line"}
    chunk = explorer.update()  # an action that is forbidden raises
    one, two = (chunk[f"/agents/{name}/infos/action_mask"] for name in ("one", "two"))
    assert one[0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [1, 0], [0, 1]]
    assert (one + two == 1).all()
    assert one.dtype == np.int8
    assert chunk["/agents/one/infos/steps"].tolist() == [[0, 1, 2, 3, 4, 0, 1]] * 2
    assert chunk["/agents/one/actions"][0, :6].tolist()[:4] == [0, 1, 0, 1]
    assert "/agents/two/infos/steps" not in chunk


def test_the_players_of_one_agent_have_a_row_each_and_zero_where_they_have_no_info():
    explorer = make_explorer(**TURNSTILE, players={"both": ["*"]}, warm_start=100, n_steps=3, num_processes=2)
    chunk = explorer.update()
    explorer.close()
    assert chunk["/agents/both/infos/steps"].tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]] * 2
    assert chunk["/agents/both/infos/action_mask"][:2, 1].tolist() == [[0, 1], [1, 0]]


def test_an_agent_is_shown_the_infos_of_its_players():
    agent = Scripted([0, 1, 0, 1])
    make_explorer(**TURNSTILE, players={"both": ["*"]}, agents={"both": agent}, n_steps=1).update()
    (observations, _, _), *_ = agent.asked
    assert observations["/infos/action_mask"].tolist() == [[1, 0], [0, 1]] * 2


def test_infos_and_masks_are_restored_in_the_middle_of_an_episode():
    def make():
        return make_explorer(**TURNSTILE, players={"both": ["*"]}, warm_start=10**6, n_steps=7, num_workers=3)

    for explorer in assert_resumes_exactly(make):
        explorer.close()


def test_a_player_that_may_do_nothing_is_named():
    explorer = make_explorer(**TURNSTILE, players={"both": ["*"]}, warm_start=100, num_workers=3)
    game = explorer.envs._group.workers[2].environment.environment
    game._mask = lambda agent: np.array([0, 0] if agent == "second" else [1, 1], np.int8)
    with pytest.raises(WorkerError, match=r"worker 2 forbids player 'second' every action .* is \[0, 0\]"):
        explorer.update()


def test_infos_that_nobody_has_or_that_differ_in_shape_are_refused():
    with pytest.raises(UsageError, match=r"the players' info has no 'step'\. Did you mean 'steps'"):
        inspect_environment(spec_of("tests/turnstile", info_keys=["step"]))
    adapter = make_environment(spec_of("tests/turnstile", info_keys=["steps"]))
    adapter.environment._infos = lambda: {"first": {"steps": 1}, "second": {"steps": [1, 2]}}
    with pytest.raises(ValueError, match=r"info\['steps'\] of the players of agent 'agent' has different shapes"):
        adapter.reset(seed=0)


def test_processes_change_nothing():
    chunks = []
    for num_processes in (0, 3):
        explorer = make_explorer(num_workers=3, num_processes=num_processes, n_steps=9)
        chunks.append(explorer.update())
        explorer.close()
    for key, array in chunks[0].items():
        np.testing.assert_array_equal(array, chunks[1][key], key)


def test_a_game_that_ignores_its_seed_is_found_out():
    explorer = make_explorer(kwargs={"is_forgetful": True}, n_steps=3)
    explorer.update()
    assert make_explorer(kwargs={"is_forgetful": True}, n_steps=3).load_state_dict(explorer.state_dict()) == [0, 1]


def test_a_player_without_an_observation_is_reported():
    explorer = make_explorer(kwargs={"leave": {}}, num_workers=1, n_steps=3)
    game = explorer.envs._group.workers[0].environment.environment
    step = game.step
    game.step = lambda actions: tuple(
        {k: v for k, v in part.items() if k != "c"} if n == 0 else part for n, part in enumerate(step(actions))
    )
    with pytest.raises(WorkerError, match="gave player 'c' no observation, though it did not"):
        explorer.update()


def test_warm_start_draws_from_each_agents_own_space():
    explorer = make_explorer(kwargs={"leave": {}}, n_steps=300, warm_start=600)
    chunk = explorer.update()
    assert set(chunk["/agents/x/actions"][:, :300].ravel().tolist()) == {0, 1, 2}
    assert abs(chunk["/agents/y/actions"][:, :300].std() - 1 / np.sqrt(3)) < 0.03


def test_an_episode_is_drawn_as_the_game_draws_it():
    environment = make_environment(spec_of(), render_mode="rgb_array")
    environment.reset(seed=0)
    environment.step(np.array([5.0, 6.0, 1.0, 2.0]))
    assert environment.render()[0, 0].tolist() == [1, 1, 1]
    assert inspect_environment(spec_of()).render_modes == ("rgb_array",)


@pytest.mark.parametrize(
    ("players", "message"),
    [
        ({"x": ["a", "c"]}, "nobody plays b"),
        ({"x": ["*"]}, "'a' and 'b' of agent 'x' have different spaces"),
        ({"x": ["a", "c"], "y": ["b", "c"]}, "'c' is played by both 'x' and 'y'"),
        ({"x": ["a", "c"], "y": ["bb"]}, "there is no player 'bb'"),
        ({"x": ["a", "c"], "y": ["b"], "z": []}, "agent 'z' plays nobody"),
        ({"x": "a"}, "players of agent 'x' must be a list of names, got 'a'"),
        ({}, "nobody plays a, b, c"),
    ],
)
def test_players_that_do_not_fit_are_refused(players, message):
    with pytest.raises(UsageError, match=message):
        inspect_environment(EnvironmentSpec(name="tests/roster", from_module="tests.support.parallel", players=players))


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("os/path", {}, "Unknown environment 'os/path'. With players, expected a name such as"),
        ("mpe2/../os", {}, "Unknown environment"),
        ("mpe2/simple_spreat_v3", {}, "there is no module mpe2.simple_spreat_v3"),
        ("mpe2/simple_spread_v3", {"M": 3}, r"cannot be made with \{'M': 3\}: TypeError"),
        ("pettingzoo/sisl/pursuit_v4", {}, "Did you mean 'pettingzoo/sisl/pursuit_v5'"),
        ("pettingzoo/classic/chess_v6", {}, "games of turns are not supported"),
    ],
)
def test_games_that_cannot_be_made_are_refused(name, kwargs, message):
    with pytest.raises(UsageError, match=message):
        make_environment(spec_of(name, kwargs=kwargs))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpe2", None)
    with pytest.raises(UsageError, match=r"pip install 'digideep\[multiagent\]'"):
        make_environment(spec_of("mpe2/simple_spread_v3"))


def test_agents_that_the_game_does_not_know_are_refused():
    spec, parameters = spec_of(), {"num_workers": 1, "n_steps": 1}
    info = inspect_environment(spec)
    agents = {name: Scripted([0, 0]) for name in ("x", "z")}
    with pytest.raises(UsageError, match="players names an agent 'y' that there is not"):
        Explorer("train", agents, spec, info, 0, Profiler(), **parameters)
    with pytest.raises(UsageError, match=r"Agent 'z' plays nobody"):
        info.of_agent("z")
    spec = EnvironmentSpec(name="CartPole-v1")
    with pytest.raises(UsageError, match=r"2 agents for one action space: .* see docs/several_agents\.md"):
        Explorer("train", agents, spec, inspect_environment(spec), 0, Profiler(), **parameters)


def _meeting_of(*players):
    game = Meeting(is_alike=True)
    game.possible_agents = list(players)
    return game


@pytest.mark.parametrize(
    ("players", "given", "groups"),
    [
        ((0, 1), {"agent": [0, 1]}, {"agent": ("0", "1")}),
        ((0, 1), {"one": ["0"], "other": [1]}, {"one": ("0",), "other": ("1",)}),
        (("p[0]", "p[1]"), {"one": ["p[0]"], "other": ["p[1]"]}, {"one": ("p[0]",), "other": ("p[1]",)}),
        (("*", "x y"), {"one": ["*"], "other": ["x*"]}, {"one": ("*",), "other": ("x y",)}),
        (("a/b", ""), {"agent": ["*"]}, {"agent": ("a/b", "")}),
        (((0, 1), (1, 0)), {"agent": ["(0, 1)", "(1*"]}, {"agent": ("(0, 1)", "(1, 0)")}),
    ],
)
def test_players_whose_names_are_no_plain_words_are_named_too(players, given, groups):
    assigned = assign_players(_meeting_of(*players), given)
    assert {agent: group.players for agent, group in assigned.items()} == groups


@pytest.mark.parametrize("players", [(1, "1"), ("a\nb", "c"), ("\x1b[31m", "c")])
def test_players_that_cannot_be_told_apart_by_a_printed_name_are_refused(players):
    with pytest.raises(UsageError, match="Players need printable names that differ"):
        assign_players(_meeting_of(*players), {"agent": ["*"]})


def test_a_warm_start_makes_only_those_agents_random_that_take_it():
    spec = EnvironmentSpec(name="tests/roster", from_module="tests.support.parallel", players=PLAYERS)
    x, y = (Scripted(np.zeros(8, np.int64), hidden_size=2), Scripted(np.zeros((4, 2), np.float32), hidden_size=2))
    y.takes_warm_start = False
    explorer = Explorer(
        "train",
        {"x": x, "y": y},
        spec,
        inspect_environment(spec),
        0,
        Profiler(),
        num_workers=4,
        n_steps=10,
        warm_start=40,
    )
    chunks = [explorer.update() for _ in range(2)]
    assert chunks[0].keys() == chunks[1].keys()
    assert [chunk["/agents/x/actions"][:, :10].any() for chunk in chunks] == [True, False]
    assert not any(chunk["/agents/y/actions"].any() for chunk in chunks)
    assert all(chunk[f"/agents/{name}/hidden_state"].any() for chunk in chunks for name in "xy")
    assert [deterministic for _, _, deterministic in x.asked] == [True] * 10 + [False] * 10
    assert not any(deterministic for _, _, deterministic in y.asked)
