"""Agents that act by rules, and what they remember: dictionaries of arrays of any numbers."""

import json

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from digideep.agent.scripted import ScriptedAgent
from digideep.environment.hidden_states import check_hidden_state, replace
from digideep.main import main
from digideep.pipeline.checkpoint import join_arrays, list_checkpoints, split_arrays
from digideep.pipeline.verify import _whole_state, compare_checkpoints
from digideep.post.export import export
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.pipeline.test_resume import train
from tests.support.helpers import ROOT, make_context, make_explorer, tiny

DEMO = str(ROOT / "params/sac_demo.py")
SMALL = {"number_epochs": 2, "epoch_size": 12, "n_steps": 3, "num_workers": 2, "warm_start": 30, "batch_size": 8,
         "hidden_sizes": [8, 8], "memory_size_in_chunks": 20, "demo_steps": 4, "demo_chunks": 15}  # fmt: skip


class Counting(ScriptedAgent):
    """Counts the steps of each episode in arrays of several kinds."""

    kinds = (np.int64, np.uint8, np.float64, np.float16)

    def reset_hidden_state(self, num_workers):
        arrays = {np.dtype(kind).name: np.zeros((num_workers, 2), kind) for kind in self.kinds}
        return arrays | {"is_odd": np.zeros(num_workers, bool)}

    def action_generator(self, observations, hidden_state, masks, deterministic):
        after = {name: array + 1 for name, array in hidden_state.items() if name != "is_odd"}
        after["is_odd"] = ~hidden_state["is_odd"]
        return {"actions": np.zeros(len(masks), np.int64), "hidden_state": after}


def counting():
    return Counting(make_context(Box(-np.inf, np.inf, (1,), np.float32), Discrete(3)))


def test_a_chunk_holds_what_was_remembered_before_each_row_in_its_own_dtypes():
    chunk = make_explorer("Counter-v0", counting(), env_kwargs={"length": 3}, n_steps=8).update()
    # Episodes of three steps and the half-step at their end, at which everything is forgotten.
    expected = [0, 1, 2, 3, 0, 1, 2, 3]
    for kind in Counting.kinds:
        array = chunk[f"/agents/agent/hidden_state/{np.dtype(kind).name}"]
        assert array.dtype == kind
        assert array[:, :8].tolist() == [[[n, n] for n in expected]] * 2
    assert chunk["/agents/agent/hidden_state/is_odd"][0, :8].tolist() == [n % 2 == 1 for n in expected]


def test_what_is_remembered_goes_on_after_a_checkpoint():
    first, second = (make_explorer("Counter-v0", counting(), env_kwargs={"length": 5}) for _ in range(2))
    first.update()
    arrays = {}
    rest = json.loads(json.dumps(split_arrays(first.state_dict(), arrays)))
    second.load_state_dict(join_arrays(rest, arrays))
    ours, theirs = first.update(), second.update()
    assert ours["/agents/agent/hidden_state/int64"][0, :, 0].tolist() == [4, 5, 0, 1, 0]
    assert all(np.array_equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a/b": np.zeros(2)}, "'a/b' of agent 'x' needs a name of letters"),
        ({1: np.zeros(2)}, "1 of agent 'x' needs a name of letters"),
        ({"a": [0, 0]}, r"must be an array with a row for each of 2 workers, got \[0, 0\]"),
        ({"a": np.zeros(3)}, r"with a row for each of 2 workers, got shape \(3,\)"),
        ({"a": np.array(["", ""])}, "must hold integers, floats or bools of at most 64 bits, got <U1"),
        ({"a": np.zeros(2, object)}, "got object"),
        ({"a": np.ones(2)}, "must be zero before a first observation"),
    ],
)
def test_what_cannot_be_remembered_is_refused(state, message):
    with pytest.raises(UsageError, match=message):
        check_hidden_state(state, 2, "x")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (None, "Agent 'x' remembers, and returned no 'hidden_state'"),
        ({"b": np.zeros(2, int)}, r"returned the hidden state arrays \['b'\], expected arrays \['a'\]"),
        (np.zeros(2), r"returned the hidden state array\(\[0., 0.\]\), expected arrays \['a'\]"),
        ({"a": np.zeros(2)}, r"'a' as float64 \(2,\), expected int64 \(2,\)"),
        ({"a": np.zeros((2, 1), int)}, r"'a' as int64 \(2, 1\), expected int64 \(2,\)"),
    ],
)
def test_another_state_than_was_announced_is_refused(new, message):
    with pytest.raises(UsageError, match=message):
        replace({"a": np.zeros(2, int)}, new, "x")


def test_an_agent_without_a_rule_is_refused(tmp_path, capsys):
    repeal = json.dumps({"/agents/demonstrator/class": "digideep.agent.scripted.ScriptedAgent"})
    assert train(tmp_path / "base", "s", DEMO, tiny(**SMALL), "--repeal", repeal) == 2
    assert "it leaves to its subclasses what action_generator does" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A finished run of the example."""
    base = tmp_path_factory.mktemp("demo")
    assert train(base, "s", DEMO, tiny(**SMALL), "--tensorboard", "--repeal", '{"/runner/histogram_int": 1}') == 0
    return base / "s"


def rows(session, memory, key):
    """What a memory of the last checkpoint holds under a key, half-steps left out."""
    state = _whole_state(list_checkpoints(session / "checkpoints")[-1])
    buffer = (state["memory"] if memory == "train" else state["memories"][memory])["buffer"]
    return buffer[key][:, :-1][buffer["/masks"][:, :-1, 0]]


def test_a_warm_start_leaves_a_scripted_agent_to_its_rule(session):
    seen = rows(session, "train", "/observations/agent")
    acted = rows(session, "train", "/agents/demonstrator/actions")
    push = rows(session, "train", "/agents/demonstrator/hidden_state/push")
    way = 10 * (seen[:, 2:] - seen[:, :2])
    assert np.abs(acted - np.clip(way + 0.8 * push, -1, 1)).max() < 1.1  # it trembles by 0.2, times some
    assert (np.sign(acted) == np.sign(way)).mean() > 0.8
    assert abs((np.sign(rows(session, "train", "/agents/agent/actions")) == np.sign(way)).mean() - 0.5) < 0.2


def test_demonstrations_hold_the_actions_of_the_demonstrator_as_those_to_learn(session):
    ours, theirs = (rows(session, "demo", f"/agents/{name}/actions") for name in ("agent", "demonstrator"))
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(
        *(rows(session, "train", f"/agents/{name}/actions") for name in ("agent", "demonstrator"))
    )


def test_the_example_resumes_bit_identically(tmp_path, session):
    assert train(tmp_path, "s", DEMO, tiny(**SMALL), "--repeal", '{"/runner/max_iter": 1}') == 75
    repeal = json.dumps({"/runner/max_iter": None, "/runner/histogram_int": 1})
    assert main(["--resume", str(tmp_path / "s"), "--log-level", "3", "--repeal", repeal]) == 0
    paths = [list_checkpoints(each / "checkpoints")[-1] for each in (session, tmp_path / "s")]
    different, _ = compare_checkpoints(*paths)
    assert [path for path in different if not path.startswith("/params/runner/")] == []


def test_the_policy_of_such_a_run_is_that_of_the_agent_that_learns_and_the_other_plays_all_the_same(session, tmp_path):
    loader = Loader(session)
    environment, policy = loader.environment(), loader.policy()
    script = loader.policy(agent="demonstrator")
    assert policy.name == "agent"
    observation, _ = environment.reset(seed=1)
    for _ in range(3):
        action = {"agent": policy(observation), "demonstrator": script(observation)}
        observation = environment.step(action)[0]
    assert script.hidden_state["steps"].tolist() == [3]
    script.reset()
    assert script.hidden_state["steps"].tolist() == [0]
    with pytest.raises(UsageError, match="Agent 'demonstrator' has no values: Demonstrator acts by rules"):
        script.value(observation)
    assert [each.agent for each in export(session, "torchscript", output=tmp_path / "p.pt")] == ["agent"]
    with pytest.raises(UsageError, match="Agent 'demonstrator' has no policy"):
        export(session, "torchscript", agent="demonstrator")


def test_fine_tuning_takes_the_networks_there_are(tmp_path, session):
    assert train(tmp_path, "s", DEMO, tiny(**SMALL), "--load-checkpoint", str(session), "--dry-run") == 0


def test_it_is_played_with_both(session, capsys):
    assert main(["--play", "--load-checkpoint", str(session), "--episodes", "1", "--render", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
