"""Memories and explorers by name: run, logged, saved, resumed, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest

from digideep.main import main
from digideep.memory.generic import Memory
from digideep.parameters.component import describe
from digideep.parameters.control_panel import load_params
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint
from digideep.pipeline.runner import Runner
from digideep.pipeline.segments import memory_names
from digideep.pipeline.tree_checks import check_tree
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from digideep.utility.errors import CheckpointError, UsageError
from tests.pipeline.test_resume import train
from tests.support.helpers import ROOT, tiny

DEMO = str(ROOT / "tests/support/demo_params.py")
SMALL = {"number_epochs": 3, "epoch_size": 12, "n_steps": 3, "warm_start": 30, "batch_size": 8, "hidden_sizes": [8, 8],
         "gradient_steps_per_frame": 0.25, "memory_size_in_chunks": 20, "prioritized": True}  # fmt: skip


def panel(**changes) -> str:
    return tiny(**SMALL | changes)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A finished run that draws from two memories."""
    base = tmp_path_factory.mktemp("straight")
    assert train(base, "straight", DEMO, panel()) == 0
    return base / "straight"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The same, stopped after two epochs."""
    base = tmp_path_factory.mktemp("stopped")
    assert train(base, "stopped", DEMO, panel(), "--repeal", '{"/runner/max_iter": 2}') == 75
    return base / "stopped"


def resume(session, epoch, **overrides) -> int:
    repeal = json.dumps({"/runner/max_iter": None, **overrides})
    return main(["--resume", str(session / f"checkpoints/checkpoint-{epoch}"), "--log-level", "3", "--repeal", repeal])


@pytest.mark.parametrize("epoch", [2, 1, 0])
def test_a_run_with_two_memories_resumes_bit_identically_from_every_checkpoint(tmp_path, straight, stopped, epoch):
    session = shutil.copytree(stopped, tmp_path / "s")
    assert resume(session, epoch) == 0
    newest = list_checkpoints(straight / "checkpoints")[-1]
    different, total = compare_checkpoints(newest, list_checkpoints(session / "checkpoints")[-1])
    assert different == []
    assert total > 100


def test_leaving_out_the_state_of_one_explorer_is_found_out(tmp_path, straight, stopped):
    session = shutil.copytree(stopped, tmp_path / "s")
    assert resume(session, 2, **{"/runner/class": "tests.support.demo_params.Forgetful"}) == 0
    newest = list_checkpoints(straight / "checkpoints")[-1]
    different, _ = compare_checkpoints(newest, list_checkpoints(session / "checkpoints")[-1])
    assert "/memories/demo/buffer//observations/agent" in different
    assert "/explorer/demo/workers" in {"/".join(path.split("/")[:4]) for path in different}


def test_each_memory_has_segments_of_its_own_which_go_with_the_last_checkpoint_that_needs_them(tmp_path):
    assert train(tmp_path, "s", DEMO, panel(keep_checkpoints=1, number_epochs=2)) == 0
    spans = {
        place: sorted(tuple(map(int, path.name.split("-")[1:3])) for path in (tmp_path / "s" / place).glob("segment-*"))
        for place in ("memory", "memory/demo")
    }
    assert spans == {"memory": [(0, 12), (12, 20), (20, 24)], "memory/demo": [(21, 24)]}


def test_a_further_explorer_is_logged_under_its_name(straight):
    loader = Loader(straight)
    assert {"/return/demo", "/length/demo", "/return/train"} <= set(loader.varlog)
    rows = [row for path in (straight / "monitor").glob("demo.*.monitor.csv") for row in csv.reader(path.open())]
    assert len(rows) > 6
    assert {path.name.split(".")[1] for path in (straight / "monitor").glob("demo.*")} == {"0", "1", "2"}
    assert loader.varlog["/update/agent/share_demo"]["sum"].size
    assert loader.policy()(np.zeros(4, np.float32)) in (0, 1)


def test_the_memories_of_a_checkpoint_hold_what_each_explorer_collected(straight):
    state, figures, _ = read_checkpoint(list_checkpoints(straight / "checkpoints")[-1])
    assert state["memory"]["n_chunks"] == state["memories"]["demo"]["n_chunks"] == 36
    assert state["memory"]["layout"]["/masks"][1] == 2
    assert state["memories"]["demo"]["layout"]["/masks"][1] == 3
    assert figures["memory"]["further"]["demo"]["oldest"] == 33
    assert state["explorer"].keys() == {"train", "demo"}


def test_a_share_that_falls_by_schedule_is_logged_as_it_is_drawn(straight):
    log = Loader(straight).varlog["/update/agent/share_demo"]
    means = log["sum"] / log["num"]
    assert means[0] > means[-1] > 0.1


def _tree(**changes):
    module = load_params(DEMO)
    return module.gen_params({**module.cpanel, **json.loads(panel()), **changes})


def _set(tree, path, value):
    *parents, name = path.strip("/").split("/")
    node = tree
    for key in parents:
        node = node[key]
    node[name] = value
    return tree


SPARE = describe(Memory, chunk_sample_len=4)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("/memory/spare", SPARE, "Nothing fills '/memory/spare' of the parameter tree"),
        ("/memory/rank-1", SPARE, "The name of a memory must be letters"),
        ("/memory/a.b", SPARE, "The name of a memory must be letters"),
        ("/memory/segment-1", SPARE, "The name of a memory must be letters"),
        ("/memory/demo", {}, "/memory/demo of the parameter tree must describe one Memory"),
        ("/explorer/demo/memory", "dmeo", r"'dmeo', and there is no such memory. Did you mean 'demo'\?"),
        ("/explorer/demo/memory", "train", "another one: the explorer 'train' fills it, got 'train'"),
        ("/explorer/train/memory", "demo", "/explorer/train/memory must be train, or left out, got 'demo'"),
        ("/explorer/test/memory", "demo", "/explorer/test/memory must be null, or left out, got 'demo'"),
        ("/explorer/demo/n_episodes", 2, "/explorer/demo/n_episodes must be null, got 2"),
        ("/explorer/demo/keep_trajectory", False, "/explorer/demo/keep_trajectory must be true"),
        ("/explorer/demo/do_reset", True, "/explorer/demo/do_reset must be false"),
        ("/explorer/recent", {}, "The name of an explorer must be letters"),
        ("/explorer/demo/num_workers", 0, "/explorer/demo: num_workers must be an integer in"),
        (
            "/runner/class",
            Runner,
            "Nothing reads '/explorer/demo' of the parameter tree. Leave it out, or name a Runner",
        ),
    ],
)
def test_a_tree_whose_memories_and_explorers_do_not_fit_is_refused(path, value, message):
    with pytest.raises(UsageError, match=message):
        check_tree(_set(_tree(), path, value), Runner)


def test_two_explorers_cannot_fill_one_memory():
    tree = _tree()
    tree["explorer"]["other"] = tree["explorer"]["demo"]
    with pytest.raises(UsageError, match="demo and other under /explorer fill the memory 'demo'"):
        check_tree(tree, Runner)


@pytest.mark.parametrize(
    ("changes", "repeal", "message"),
    [
        ({"shares": {"dmeo": 0.5}}, {}, "shares names a memory 'dmeo' that there is not. Did you mean 'demo'?"),
        ({"shares": {"train": 0.5}}, {}, "shares names 'train', which gives what the others leave"),
        ({"shares": {"demo": 1.5}}, {}, "shares['demo'] must be a number in [0, 1], got 1.5"),
        ({}, {"/agents/agent/sampler/shares/demo/end": 2.0}, "shares['demo'] must be in [0, 1] at all times"),
        ({"demo_steps": 1, "demo_chunks": 1}, {}, "The memory 'demo' holds 1 steps of each worker"),
        ({}, {"/explorer/demo/n_steps": 5}, "/explorer/demo/n_steps is 5, but /memory/demo/chunk_sample_len 4"),
        ({}, {"/memory/demo/buffer_chunk_len": 10**12}, "/memory/demo/buffer_chunk_len=1000000000000 would need"),
        ({}, {"/memory/demo/keys": ["/masks"]}, "/memory/demo/keys lacks /rewards, which DQN of agent 'agent' learns"),
    ],
)
def test_mistakes_cost_one_line_and_create_nothing(tmp_path, capsys, changes, repeal, message):
    assert train(tmp_path / "base", "s", DEMO, panel(**changes), "--repeal", json.dumps(repeal)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "base").exists()


def test_a_memory_from_which_no_sampler_draws_is_pointed_out(tmp_path, capsys):
    assert train(tmp_path, "s", DEMO, panel(number_epochs=1, shares={}, prioritized=False), "--log-level", "1") == 0
    assert "No agent learns from the memory 'demo'." in " ".join(capsys.readouterr().out.split())


def test_a_directory_of_a_memory_that_is_a_link_is_refused(tmp_path, stopped, capsys):
    session = shutil.copytree(stopped, tmp_path / "s")
    (session / "memory/demo").rename(tmp_path / "elsewhere")
    (session / "memory/demo").symlink_to(tmp_path / "elsewhere")
    assert main(["--resume", str(session)]) == 2
    assert "memory/demo is a link, expected a directory of the session's own" in capsys.readouterr().err


def test_names_in_a_checkpoint_that_lead_elsewhere_are_refused():
    with pytest.raises(CheckpointError, match="expected memories by name"):
        memory_names({"memory": {"oldest": 0, "newest": None, "further": {"../x": {}}}})


def test_a_further_explorer_normalises_as_train_does(tmp_path):
    wrappers = json.dumps({"/env/vect_wrappers": [{"class": "digideep.environment.normalizers.VecNormalizeObs"}]})
    assert train(tmp_path, "s", DEMO, panel(number_epochs=1), "--repeal", wrappers) == 0
    state, *_ = read_checkpoint(list_checkpoints(tmp_path / "s/checkpoints")[-1])
    ours, theirs = (state["explorer"][name]["seats"]["agent"]["wrappers"]["0"] for name in ("demo", "train"))
    counts = [each["/agent"]["count"] for each in (ours, theirs)]
    assert 0 < counts[1] - counts[0] <= 2 * 3 + 2  # what train has learned since, in its last cycle
