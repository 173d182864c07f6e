"""Data sets: what is read from one is what an explorer would have delivered, and what is none is refused."""

import json
import shutil
from functools import cache

import gymnasium as gym
import h5py
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from digideep.environment.dataset_rows import as_chunk
from digideep.environment.datasets import CONTENT, METADATA, MinariData
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward, VecSignReward
from digideep.environment.scaling import unscale_actions
from digideep.environment.spaces import ActionScaler, agent_action_space, sample_actions
from digideep.parameters.component import describe
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks
from tests.support.datasets import counted, pendulums
from tests.support.helpers import Scripted, make_explorer


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """Three episodes: two that terminate after three steps, and one that is cut off after one."""
    return counted(tmp_path_factory.mktemp("datasets"), frames=7)


@cache
def plain_seat(name):
    """The only seat of an explorer, without wrappers."""
    return next(iter(make_explorer(name, Scripted([0] * 4)).seats.values()))


def read(path, *, wrappers=(), num_workers=1, length=4, ranks=None, name="Counter-v0"):
    seat = plain_seat(name)
    if wrappers:
        (seat,) = make_explorer(name, Scripted([0] * 4), wrappers=wrappers).seats.values()
    loaded = MinariData(dataset=str(path)).load()
    return as_chunk(loaded, seat, "/agent", num_workers=num_workers, length=length, ranks=ranks or Ranks()), seat


def test_episodes_follow_each_other_with_their_true_last_observations_and_ends(counter):
    (chunk, figures), _ = read(counter)
    number = 10  # rows that hold something; two more fill up three chunks of four steps
    assert chunk["/observations/agent"].dtype == np.float32
    assert chunk["/observations/agent"][0, :number, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert chunk["/masks"][0, :, 0].tolist() == [1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0]
    assert chunk["/rewards"][0, :number, 0].tolist() == [1, 2, 3, 0, 1, 2, 3, 0, 1, 0]
    assert np.flatnonzero(chunk["/terminations"]).tolist() == [2, 6], "the last episode was truncated"
    assert chunk["/agents/agent/actions"][0, :number].tolist() == [0, 2, 1, 0, 0, 2, 1, 0, 0, 0], "counted from 0"
    assert figures == {"episodes": 3, "frames": 7, "return": (6 + 6 + 1) / 3}
    (chunk, _), _ = read(counter, length=9)
    assert chunk["/masks"].shape == (1, 19, 1), (
        "what is stored next begins behind the last episode, not in its last row"
    )


def test_the_rows_are_those_of_an_explorer(counter):
    (chunk, _), _ = read(counter)
    explorer = make_explorer("Counter-v0", Scripted([0]), num_workers=1, n_steps=7, env_kwargs={"length": 3})
    own = explorer.update()
    assert own.keys() == chunk.keys()
    for key, array in own.items():
        assert array.dtype == chunk[key].dtype
        if not key.endswith("actions"):
            np.testing.assert_array_equal(array[:, :8], chunk[key][:, :8], key)


def test_workers_and_ranks_share_the_episodes_out(counter):
    (chunk, _), _ = read(counter, num_workers=2)
    assert chunk["/masks"][..., 0].sum(1).tolist() == [4, 3]
    found = []
    for rank in (0, 1):
        (chunk, figures), _ = read(counter, ranks=Ranks(rank=rank, size=2))
        found.append(int(chunk["/masks"].sum()))
        assert figures["frames"] == 7
    assert found == [4, 3]


@pytest.mark.parametrize("name", ["observations", "rewards", "signs"])
def test_normalisers_learn_from_the_whole_before_they_change_it(counter, name):
    wrapper = {
        "observations": describe(VecNormalizeObs), "rewards": describe(VecNormalizeReward, gamma=0.5),
        "signs": describe(VecSignReward),
    }[name]  # fmt: skip
    (chunk, _), seat = read(counter, wrappers=[wrapper])
    seen = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1], np.float64)
    if name == "observations":
        expected = (seen - seen.mean()) / seen.std()
        np.testing.assert_allclose(chunk["/observations/agent"][0, :10, 0], expected, atol=1e-4)
        (statistics,) = seat.senses.statistics().values()
        assert statistics["/agent"]["count"] == pytest.approx(10, abs=1e-3)
    elif name == "rewards":
        returns = [1, 2.5, 4.25, 1, 2.5, 4.25, 1]
        expected = np.array([1, 2, 3, 0, 1, 2, 3, 0, 1, 0]) / np.std(returns)
        np.testing.assert_allclose(chunk["/rewards"][0, :10, 0], expected, rtol=1e-3)
    else:
        assert chunk["/rewards"][0, :10, 0].tolist() == [1, 1, 1, 0, 1, 1, 1, 0, 1, 0]


SPACES = [
    Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32)),
    Box(-np.inf, np.inf, (2, 2), np.float64),
    Box(0, 255, (3,), np.uint8),
    Discrete(4, start=-2),
    MultiDiscrete([[3, 4], [2, 5]]),
    MultiBinary([2, 3]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_what_the_agent_chose_is_found_again_from_what_the_environment_was_given(space):
    own = agent_action_space(space)
    chosen = sample_actions(own, np.random.default_rng(0), 50)
    found = unscale_actions(space, ActionScaler(space)(chosen))
    assert found.dtype == chosen.dtype
    assert found.shape == chosen.shape
    np.testing.assert_allclose(found, chosen, atol=1 / 255 if space.dtype == np.uint8 else 1e-6)


@pytest.mark.parametrize(
    ("space", "actions"),
    [(Discrete(3, start=5), [4]), (Discrete(3, start=5), [8]), (Box(0, 1, (1,), np.float32), [[1.01]])],
)
def test_actions_that_the_environment_does_not_have_are_refused(space, actions):
    with pytest.raises(UsageError, match="outside of"):
        unscale_actions(space, np.array(actions))


def test_only_as_many_episodes_are_read_as_are_asked_for(counter):
    assert len(list(MinariData(dataset=str(counter), num_episodes=2).load().episodes)) == 2
    with pytest.raises(UsageError, match=r"3 episodes, and num_episodes=4"):
        MinariData(dataset=str(counter), num_episodes=4).load()


def test_a_data_set_is_found_by_its_id(counter, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(counter.parents[1]))
    loaded = MinariData(dataset="counter/written-v0").load()
    assert loaded.name == "counter/written-v0"
    assert loaded.environment == "Counter-v0"


# ------------------------------------------------------------------ what is refused


def change_json(path, **changes):
    file = path / "data" / METADATA
    metadata = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in metadata.items() if value is not None}))


def change_content(path, change):
    with h5py.File(path / "data" / CONTENT, "r+") as file:
        change(file)


def put(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return lambda path: change_content(path, change)


DAMAGES = {
    "no metadata": (lambda path: (path / "data" / METADATA).unlink(), "There is no data set"),
    "no content": (lambda path: (path / "data" / CONTENT).unlink(), "main_data.hdf5 is missing"),
    "no JSON": (lambda path: (path / "data" / METADATA).write_text("{"), "is no JSON"),
    "no spaces": (lambda path: change_json(path, action_space=None), "has no action_space"),
    "another format": (lambda path: change_json(path, data_format="arrow"), "format 'arrow', expected 'hdf5'"),
    "a space that is none": (lambda path: change_json(path, action_space='{"type": "Oracle"}'), "can read"),
    "no id": (lambda path: change_json(path, dataset_id=None), "can read"),
    "cut off": (lambda path: (path / "data" / CONTENT).write_bytes(b"\x89HDF"), "can read"),
    "leads elsewhere": (
        lambda path: change_content(path, lambda file: file.update({"extra": h5py.ExternalLink("x.hdf5", "/")})),
        "leads elsewhere at 'extra'",
    ),
    "a link to itself": (
        lambda path: change_content(path, lambda file: file.update({"extra": h5py.SoftLink("/episode_0")})),
        "leads elsewhere at 'extra'",
    ),
    "an episode is missing": (
        lambda path: change_content(path, lambda file: file.pop("episode_1")),
        "episode 1 cannot be read",
    ),
    "a last observation is missing": (put("episode_1/observations", np.zeros((3, 1))), "has shape (3, 1), expected (4"),
    "wide observations": (put("episode_1/observations", np.zeros((4, 2))), "has shape (4, 2), expected (4, 1)"),
    "observations of words": (put("episode_1/observations", [[b"a"]] * 4), "episode 1: /agent has the dtype object"),
    "few rewards": (put("episode_1/rewards", np.zeros(2)), "episode 1:"),
    "no step": (put("episode_1/rewards", np.zeros(0)), "episode 1: it has no step"),
    "infinite": (put("episode_1/rewards", np.array([0, np.inf, 0])), "values that float32 does not"),
    "immense rewards": (put("episode_1/rewards", np.array([0, 1e39, 0])), "values that float32 does not"),
    "immense observations": (put("episode_1/observations", np.full((4, 1), 1e39)), "beyond what float32 holds"),
    "half an end": (put("episode_1/terminations", np.array([0, 0, 0.5])), "neither true nor false"),
    "actions between": (put("episode_1/actions", np.array([5.0, 5.5, 5.0])), "/actions holds 5.5, which Discrete"),
    "not a number": (put("episode_1/observations", np.full((4, 1), np.nan)), "not finite"),
    "actions beyond": (put("episode_1/actions", np.array([5, 8, 5])), "/actions holds 8, which Discrete"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_data_set_is_refused_in_a_line_that_names_it(counter, tmp_path, damage):
    path = tmp_path / "damaged"
    shutil.copytree(counter, path)
    change, message = DAMAGES[damage]
    change(path)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert message in str(caught.value)
    assert "damaged" in str(caught.value) or "counter/written-v0" in str(caught.value)


def test_a_data_set_of_continuous_actions_keeps_their_scale(tmp_path):
    (chunk, _), _ = read(pendulums(tmp_path, episodes=1), name="Pendulum-v1")
    assert set(chunk["/agents/agent/actions"][0, :200, 0].tolist()) == {0.75, -0.75}
    assert not chunk["/terminations"].any()
    assert isinstance(gym.make("Pendulum-v1").action_space, Box)
