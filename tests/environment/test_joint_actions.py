"""Actions of several entries: where each agent sits, what the environment gets, what agents share, what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from digideep.environment.explorer import Explorer
from digideep.environment.joint_actions import (
    JointScaler,
    RandomActions,
    action_entries,
    flat,
    joint_agent_space,
    joint_space,
    nested,
    sample_joint,
)
from digideep.environment.making.joined_actions import JoinedActions
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.making.wrappers import describe_wrapper
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.environment.play import main as play
from digideep.environment.stepping.processes import choose_num_processes
from digideep.environment.tools.check import check_environment
from digideep.parameters.component import describe
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError, WorkerError
from tests.support.helpers import Scripted
from tests.support.joint import ROBOT

PATHS = ["arm/grip", "arm/reach", "dial", "wheels/0", "wheels/1"]
PLAYERS = {"hand": ["arm/grip"], "rest": ["wheels/*", "dial"], "reach": ["arm/reach"]}
CHOSEN = {  # for two workers
    "hand": np.array([0, 2]),
    "reach": np.array([[-1, 0.5], [3, -1]], np.float32),
    "rest": np.array([[0.25, 1, 2, 1, 0], [-9, 0, 1, 0, 1]], np.float32),  # dial, wheels/0, wheels/1
}
HEARD = [  # what the environments make of it
    {"arm": {"grip": 2, "reach": [0, 2]}, "dial": 0.5, "wheels": ([[1, 2]], [1, 0])},
    {"arm": {"grip": 4, "reach": [10, -4]}, "dial": -2.0, "wheels": ([[0, 1]], [0, 1])},
]


def make_spec(name="Robot-v0", players=None, **parameters):
    return EnvironmentSpec(name=name, from_module="tests.support.joint", players=players, **parameters)


def explore(agents, spec, **parameters):
    parameters = {"num_workers": 2, "n_steps": 4} | parameters
    return Explorer("train", agents, spec, inspect_environment(spec), 0, Profiler(), **parameters)


def scripted(hidden_size=None):
    return {name: Scripted(actions, hidden_size) for name, actions in CHOSEN.items()}


def plain(action):
    """An action in lists, so that it can be compared."""
    if isinstance(action, dict):
        return {name: plain(part) for name, part in action.items()}
    return tuple(map(plain, action)) if isinstance(action, tuple) else np.asarray(action).tolist()


class Hearing(gym.Wrapper):
    """Notes what the environment is told."""

    def __init__(self, environment, told):
        super().__init__(environment)
        self.told = told

    def step(self, action):
        self.told.append(plain(action))
        return self.env.step(action)


def test_entries_stand_under_their_paths_in_the_order_of_declaration():
    entries = action_entries(ROBOT)
    assert list(entries) == PATHS
    assert entries["wheels/0"] == ROBOT["wheels"][0]
    many = Tuple([Discrete(2)] * 11)
    assert list(action_entries(many)) == [str(index) for index in range(11)]
    assert list(joint_space(action_entries(many)).spaces) == [str(index) for index in range(11)]


def test_nesting_and_flattening_are_each_others_inverse():
    sample = Dict({"x": ROBOT, "none": Dict({}), "t": Tuple((Tuple(()), Discrete(2)))})
    sample.seed(0)
    action = sample.sample()
    assert plain(nested(sample, flat(sample, action))) == plain(action)
    assert plain(nested(Discrete(2), flat(Discrete(2), 1))) == 1


def test_an_agent_sees_one_entry_as_it_is_and_several_as_a_flat_dictionary_in_order():
    info = inspect_environment(make_spec(players=PLAYERS))
    assert {name: own.entries for name, own in info.agents.items()} == {
        "hand": ("arm/grip",), "rest": ("dial", "wheels/0", "wheels/1"), "reach": ("arm/reach",)
    }  # fmt: skip
    assert info.agents["hand"].agent_action_space == Discrete(3)
    assert info.agents["reach"].agent_action_space == Box(-1, 1, (2,))
    rest = info.agents["rest"].agent_action_space
    assert list(rest.spaces.items()) == [
        ("dial", Box(-1, 1, (1,))), ("wheels/0", MultiDiscrete([2, 3])), ("wheels/1", MultiBinary(2))
    ]  # fmt: skip
    assert list(inspect_environment(make_spec()).agent_action_space.spaces) == PATHS


def test_agents_share_what_they_see_and_the_environment_gets_what_it_declares():
    told = []
    explorer = explore(scripted(), make_spec(players=PLAYERS))
    for worker in explorer.envs._group.workers:
        worker.environment.env = Hearing(worker.environment.env, told)
    chunk = explorer.update()
    assert told[:2] == HEARD
    own = {f"/agents/{name}/actions" for name in CHOSEN}
    assert chunk.keys() == own | {"/observations/agent", "/masks", "/rewards", "/terminations"}
    for name, actions in CHOSEN.items():
        assert chunk[f"/agents/{name}/actions"].dtype == actions.dtype
        assert chunk[f"/agents/{name}/actions"][:, 0].tolist() == actions.tolist()
    assert chunk["/rewards"][:, 0, 0].tolist() == [8.5, 10]
    assert chunk["/observations/agent"][:, 1, 2].tolist() == [8.5, 10]
    assert chunk["/masks"][:, :1].all()


def test_what_is_shared_is_normalised_once_whatever_the_number_of_agents():
    wrappers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
    alone = {"agent": Scripted(np.concatenate([CHOSEN["hand"][:, None], CHOSEN["reach"], CHOSEN["rest"]], 1))}
    one, many = (
        explore(agents, make_spec(players=players, vect_wrappers=wrappers), n_steps=12)
        for agents, players in ((alone, None), (scripted(), PLAYERS))
    )
    expected, chunk = one.update(), many.update()
    for key in ("/observations/agent", "/rewards", "/masks", "/terminations"):
        np.testing.assert_array_equal(chunk[key], expected[key])
    states = many.state_dict()["seats"]
    assert "wrappers" in states["hand"]
    assert states["rest"].keys() == states["reach"].keys() == {"hidden_state"}
    (statistics,) = one.statistics().values()
    for own in many.statistics().values():
        assert own["0"]["/agent"]["mean"].tolist() == statistics["0"]["/agent"]["mean"].tolist()
        assert own["0"]["/agent"]["count"] == pytest.approx(26, abs=0.01)  # 13 rows of two workers


def test_each_agent_remembers_by_itself_and_forgets_with_the_episode():
    chunk = explore(scripted(hidden_size=1), make_spec(players=PLAYERS), n_steps=25).update()
    masks = chunk["/masks"][..., 0]
    assert not masks[:, :25].all()  # an episode ended
    for name in CHOSEN:
        states = chunk[f"/agents/{name}/hidden_state"][..., 0]
        for worker in range(2):
            for row in range(1, 25):
                expected = states[worker, row - 1] + 1 if masks[worker, row - 1] else 0
                assert states[worker, row] == expected


def test_an_explorer_that_is_restored_in_other_processes_goes_on_as_the_first_one():
    spec = make_spec(players=PLAYERS, vect_wrappers=[describe(VecNormalizeObs)])
    made = [explore(scripted(2), spec, num_processes=number, n_steps=7) for number in (0, 2)]
    made[0].update()
    state, expected = made[0].state_dict(), made[0].update()
    assert made[1].load_state_dict(state) == []
    for key, array in made[1].update().items():
        np.testing.assert_array_equal(array, expected[key])
    for each in made:
        each.close()


def test_random_actions_of_a_warm_start_cover_each_entry():
    explorer = explore(scripted(), make_spec(players=PLAYERS), n_steps=30, warm_start=60)
    chunk = explorer.update()
    assert set(chunk["/agents/hand/actions"][:, :30].reshape(-1).tolist()) == {0, 1, 2}
    rest = chunk["/agents/rest/actions"][:, :30].reshape(60, 5)
    assert rest.dtype == np.float32
    assert len(set(rest[:, 0])) == 60
    assert {tuple(row) for row in rest[:, 1:3].astype(int).tolist()} == {(i, j) for i in range(2) for j in range(3)}


def test_wrappers_of_single_environments_see_the_declared_space(recwarn):
    spec = make_spec(norm_wrappers=[describe_wrapper(gym.wrappers.RescaleAction, min_action=-1, max_action=1)])
    with pytest.raises(UsageError, match=r"norm_wrappers: RescaleAction does not fit the observations or actions"):
        make_environment(spec)
    spec = make_spec(players=PLAYERS, norm_wrappers=[describe_wrapper(gym.wrappers.ClipReward, max_reward=1.0)])
    environment = make_environment(spec)
    assert isinstance(environment, JoinedActions)
    assert environment.env.action_space is ROBOT
    assert explore(scripted(), spec).update()["/rewards"].max() == 1


def test_the_only_entry_of_a_dictionary_is_chosen_as_if_it_stood_alone():
    class Single(gym.ActionWrapper):
        def __init__(self):
            super().__init__(gym.make("CartPole-v1"))
            self.action_space = Dict({"push": Tuple((self.env.action_space,))})

        def action(self, action):
            assert self.action_space.contains(action)
            return action["push"][0]

    if "Single-v0" not in gym.registry:
        gym.register("Single-v0", Single)
    for players in (None, {"agent": ["push/0"]}):
        info = inspect_environment(EnvironmentSpec(name="Single-v0", players=players))
        assert info.of_agent("agent").agent_action_space == Discrete(2)
        explorer = explore({"agent": Scripted([1, 0])}, EnvironmentSpec(name="Single-v0", players=players))
        chunk = explorer.update()
        assert (chunk["/observations/agent"][:, 1, 1] > 0).tolist() == [True, False]  # pushed right, and left


def test_every_entry_is_scaled_exactly_whatever_its_kind():
    space = joint_space(action_entries(ROBOT))
    vectors = JointScaler(space)(np.array([[1, -1, 0.5, 0.25, 1, 2, 1, 0]], np.float32))
    assert vectors.dtype == np.float64
    assert vectors.tolist() == [[3, 0, 2, 0.5, 1, 2, 1, 0]]
    drawn = RandomActions(space)(np.random.default_rng(0), 200)
    assert drawn.shape == (200, 8)
    assert drawn[:, 0].min() == 2
    assert drawn[:, 0].max() == 4
    chosen = sample_joint(joint_agent_space(space), np.random.default_rng(0), 200)
    assert JointScaler(space)(chosen) == pytest.approx(drawn, rel=1e-6)


def test_the_rows_of_a_memory_are_sized_by_all_agents_actions():
    info = inspect_environment(make_spec(players=PLAYERS))
    assert info.row_bytes() == 3 * 4 + (8 + 2 * 4 + 5 * 4) + 1 + 4 + 1
    assert inspect_environment(make_spec()).row_bytes() == 3 * 4 + 8 * 4 + 1 + 4 + 1


def test_a_check_and_a_look_at_it_work_as_for_any_environment(capsys):
    verdicts = check_environment(make_spec(players=PLAYERS), steps=20)
    assert {verdict.point: verdict.detail for verdict in verdicts if verdict.is_ok is False} == {}
    assert len(verdicts) == 6
    assert play(["--model", "Robot-v0", "--module", "tests.support.joint", "--runs", "1", "--render", "none"]) == 0
    assert "run 1/1: return" in capsys.readouterr().out
    spec = make_spec(players=PLAYERS)
    assert choose_num_processes(spec, inspect_environment(spec), 2, 2) == 0


def test_an_instance_whose_entries_come_in_another_order_is_refused():
    spec = make_spec(kwargs={"turned": True})
    with pytest.raises(WorkerError, match="order of actions"):
        Explorer("train", {"agent": Scripted([0])}, spec, inspect_environment(make_spec()), 0, Profiler(),
                 num_workers=1, n_steps=1)  # fmt: skip


@pytest.mark.parametrize(
    ("players", "message"),
    [
        ({"hand": ["arm/*"]}, "nobody plays dial, wheels/0, wheels/1. Name an agent for each action"),
        ({"a": ["*"], "b": ["dial"]}, "'dial' is played by both 'a' and 'b'"),
        ({"a": ["*"], "b": ["dail"]}, "there is no action 'dail'. Did you mean 'dial'"),
        ({"a": ["*"], "b": []}, "agent 'b' plays nobody"),
        ({}, "nobody plays arm/grip"),
    ],
)
def test_entries_without_an_agent_or_with_two_are_refused(players, message):
    with pytest.raises(UsageError, match=message):
        inspect_environment(make_spec(players=players))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Dict({}), "hold nothing to choose"),
        (Dict({"a": Text(3)}), "Action 'a': Actions Text"),
        (Tuple((Discrete(2), Box(0, 1, (0,)))), "Action '1': .* hold nothing to choose"),
        (Dict({"a/b": Discrete(2), "a": Dict({"b": Discrete(2)})}), "Two actions have the path a/b"),
        (Dict({"a": Discrete(2**53 + 2), "b": Discrete(2)}), "Action 'a': .* reach beyond 9007199254740992"),
    ],
)
def test_actions_that_cannot_be_joined_are_refused(space, message):
    with pytest.raises(UsageError, match=message):
        action_entries(space)


def test_numbers_that_float32_does_not_hold_are_refused_among_several_of_one_agent_only():
    entries = {"many": Discrete(2**24 + 2), "few": Discrete(2)}
    with pytest.raises(UsageError, match=r"Action 'many' among several of one agent: .* reach beyond 16777216"):
        joint_agent_space(joint_space(entries))
    assert joint_agent_space(joint_space({"many": Discrete(2**24 + 1), "few": Discrete(2)}))["many"].n == 2**24 + 1
    assert joint_agent_space(entries["many"]).n == 2**24 + 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (EnvironmentSpec(name="CartPole-v1", players={"a": ["*"]}), "CartPole-v1 has a single action, Discrete"),
        (make_spec(info_keys=["action_mask"]), "Action masks are for a single action, but that of Robot-v0 has sev"),
        (make_spec("Robt-v0", players=PLAYERS), "Unknown environment 'Robt-v0'"),
    ],
)
def test_what_does_not_go_with_several_actions_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        inspect_environment(spec)


def test_other_backends_refuse_actions_of_several_entries():
    with pytest.raises(
        UsageError, match="EnvPool takes one array of actions, but that of Robot-v0 has the entries arm"
    ):
        explore({"agent": Scripted([0])}, make_spec(), backend="envpool")
