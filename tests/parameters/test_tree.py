"""The parameter tree: to plain values, to YAML, back, and changed by path."""

import datetime
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
import yaml

from digideep.agent.ppo import PPO
from digideep.memory.generic import Memory
from digideep.parameters.component import describe
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.tree import dump_yaml, from_plain, override_tree, to_plain
from digideep.pipeline.runner import Runner
from digideep.pipeline.tree_checks import check_tree
from digideep.utility.errors import UsageError

TREE = {"memory": describe(Memory, chunk_sample_len=3), "list": [{"a": 1}, (2, 3)], "number": 0.5, "nothing": None}


def test_a_tree_survives_its_way_through_yaml(tmp_path):
    dump_yaml(to_plain(TREE), tmp_path / "tree.yaml")
    plain = yaml.safe_load((tmp_path / "tree.yaml").read_text())
    assert plain["memory"] == {"class": "digideep.memory.generic.Memory", "chunk_sample_len": 3}
    assert from_plain(plain) == {**TREE, "list": [{"a": 1}, [2, 3]]}


def test_values_change_by_path_and_the_original_stays():
    plain = to_plain(TREE)
    changed = override_tree(plain, {"/memory/chunk_sample_len": 4, "/list/0/a": 9, "/number": 1, "/nothing": "x"})
    assert changed["memory"]["chunk_sample_len"] == 4
    assert changed["list"][0]["a"] == 9
    assert changed["number"] == 1.0
    assert isinstance(changed["number"], float)
    assert changed["nothing"] == "x"
    assert plain == to_plain(TREE)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("/memry", 1, r"no 'memry' under '/'. Did you mean 'memory'\?"),
        ("/memory/chunk_sample_len/x", 1, "no 'x' under '/memory/chunk_sample_len'"),
        ("/list/5", 1, "no '5' under '/list'"),
        ("/number", "one", "'/number' must be a number, got 'one'"),
        ("/memory/class", 3, "must be a string, got 3"),
    ],
)
def test_a_wrong_path_or_type_is_refused(path, value, message):
    with pytest.raises(UsageError, match=message):
        override_tree(to_plain(TREE), {path: value})


def test_a_panel_is_copied_and_integers_may_stand_for_numbers():
    panel = {"lr": 0.1, "sizes": [1, 2], "limit": None}
    changed = override_panel(panel, {"lr": 1, "limit": 3})
    assert changed == {"lr": 1.0, "sizes": [1, 2], "limit": 3}
    changed["sizes"].append(3)
    assert panel["sizes"] == [1, 2]


@pytest.mark.parametrize("name", ["ppo_mujoco", "ppo_classic"])
def test_gen_params_is_pure(name):
    module = load_params(f"params.{name}")
    first, second = module.gen_params(module.cpanel), module.gen_params(module.cpanel)
    assert to_plain(first) == to_plain(second)
    assert first["agents"]["agent"]["class"] is PPO
    assert from_plain(to_plain(first)) == first


def tree_of(recipe: str = "ppo_classic"):
    module = load_params(f"params.{recipe}")
    return to_plain(module.gen_params(module.cpanel))


@pytest.mark.parametrize(
    ("value", "plain"),
    [(np.float64(0.98), 0.98), (np.int32(3), 3), (np.bool_(True), True), (np.str_("x"), "x"), ([np.uint8(7)], [7])],
)
def test_numbers_of_numpy_are_taken_as_those_of_python(value, plain):
    written = to_plain({"gamma": value})["gamma"]
    assert written == plain
    assert yaml.safe_load(yaml.safe_dump({"gamma": written})) == {"gamma": plain}
    changed = override_panel({"gamma": value}, {})["gamma"]
    assert changed == plain


Colour = IntEnum("Colour", "RED")
CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1.0]), r"cpanel/key is array\(\[1\.\]\): expected .* not numpy.ndarray"),
        (Colour.RED, r"cpanel/key is <Colour.RED: 1>: expected .* not .*Colour"),
        (Path("x"), "cpanel/key is .*Path.*: expected"),
        (datetime.date(2020, 1, 1), "cpanel/key is .*date"),
        (np.datetime64("2020-01-01"), "cpanel/key is .*datetime64"),
        (b"x", "cpanel/key is b'x'"),
        (1j, "cpanel/key is 1j"),
        (CIRCLE, "is nested more than 40 levels deep"),
        ({"a": {1: 2}}, "cpanel/key/a has the key 1: keys must be strings"),
        ("\ud800", "cpanel/key holds .*cannot be encoded"),
    ],
)
def test_what_no_file_can_hold_is_refused_by_key_and_type(value, message):
    with pytest.raises(UsageError, match=message):
        override_panel({"key": value}, {})


@pytest.mark.parametrize(
    ("current", "value"),
    [(True, None), ("x", None), ([1], None), ({"a": 1}, None), ((1,), None), (0.5, True), (0.5, 2**63), (1, 1.0)],
)
def test_null_and_other_types_do_not_replace_a_value_of_the_panel(current, value):
    with pytest.raises(UsageError, match="--cpanel 'key' must be"):
        override_panel({"key": current}, {"key": value})


@pytest.mark.parametrize("current", [3, 0.5, None])
def test_null_replaces_numbers_for_the_component_to_decide(current):
    assert override_panel({"key": current}, {"key": None}) == {"key": None}


def test_null_for_a_number_that_the_file_computes_with_is_refused_by_its_key():
    module = load_params("params.sac_classic")
    panel = override_panel(module.cpanel, {"warm_start": None})
    with pytest.raises(UsageError, match=r"--cpanel 'warm_start' is null, .* Give it a value, such as 100\."):
        generate(module, panel)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/agents/agent/target_kl", 0.02),
        ("/agents/agent/policy/activation", "relu"),
        ("/explorer/train/worker_timeout_s", 4.0),
        ("/agents/agent/optimizer/beta1", 0.8),
        ("/agents/agent/lr", 0.001),  # in the place of a schedule
        ("/agents/agent/max_grad_norm", None),
        ("/runner/keep_checkpoints", None),
        ("/agents/agent/clip_param", {"class": "digideep.parameters.schedule.Constant", "value": 0.1}),
    ],
)
def test_any_parameter_of_a_component_is_set_by_its_path(path, value):
    changed = override_tree(tree_of(), {path: value})
    node = changed
    for key in path.strip("/").split("/"):
        node = node[key]
    assert node == value
    check_tree(from_plain(changed), Runner)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("/agents/agent/target_lk", 0.02, r"no 'target_lk' under '/agents/agent'. Did you mean 'target_kl'\?"),
        ("/explorer/train/worker_timeout", 4, r"Did you mean 'worker_timeout_s'\?"),
        ("/agents/agent/policy/encoder/features", 4, "'encoder' under '/agents/agent/policy' is at its default"),
        ("/agents/agent/lr", "fast", "must be a described component such as .* or a number, got 'fast'"),
        ("/agents/agent/lr", None, "got null"),
        ("/agents/agent/policy", None, "must be a described component such as .*, got null"),
        ("/agents/agent/sampler", {}, r"must be a described component such as .*, got \{\}"),
        ("/runner", None, "must be a described component such as .*, got null"),
        ("/explorer/test", {}, "must be a described component such as"),
        ("/memory", {"a": 1}, "must be a described component such as"),
        ("/explorer/test/deterministic", None, "must be true or false, got null"),
        ("/env/name", None, "must be a string, got null"),
        ("/env/norm_wrappers", [None], r"\[0\] must be a described component"),
        ("/env/kwargs", None, "must be an object, got null"),
        ("/agents/agent/policy/hidden_sizes", [64, None], r"\[1\] must be an integer, got null"),
        ("/agents/agent/gamma", float("nan"), "must be a finite number"),
        ("/runner/seed", 2**70, "must be an integer of 64 bits"),
        ("//", 1, "'//' is no path"),
    ],
)
def test_an_override_that_fits_no_parameter_is_refused(path, value, message):
    with pytest.raises(UsageError, match=message):
        override_tree(tree_of(), {path: value})


def _changed(tree, path, value):
    *parents, last = path.split("/")[1:]
    node = tree
    for key in parents:
        node = node[key]
    node[last] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("/demo", {"class": Memory, "chunk_sample_len": 1}, "Nothing reads '/demo' of the parameter tree"),
        ("/agnets", {}, r"Nothing reads '/agnets' of the parameter tree. Leave it out. Did you mean 'agents'\?"),
        ("/explorer/demo", {}, "Nothing reads '/explorer/demo'"),
        ("/explorer", None, "/explorer must be a dictionary of train, test, eval, got null"),
        ("/explorer", {}, "has no '/explorer/train'"),
        ("/memory", {"demo": describe(Memory, chunk_sample_len=1)}, "The parameter tree has no '/memory/train'"),
        ("/memory", {}, r"must describe one Memory, got \{\}"),
        ("/agents", None, "/agents must be a dictionary of agents, got null"),
        ("/agents/agent", None, "/agents/agent of the parameter tree must describe one AgentBase, got null"),
        ("/explorer/train/n_episodes", 3, "/explorer/train/n_episodes must be null, got 3"),
        ("/explorer/train/n_steps", None, "/explorer/train: n_steps must be given where n_episodes is not"),
        ("/explorer/train/keep_trajectory", False, "/explorer/train/keep_trajectory must be true"),
        ("/explorer/test/n_episodes", None, "/explorer/test: n_steps must be given"),
        ("/explorer/eval/num_workers", -7, r"/explorer/eval: num_workers must be an integer in \[1, 65536\], got -7"),
        ("/explorer/eval/num_processes", 2, "/explorer/eval: num_processes must be at most num_workers=1, got 2"),
        ("/explorer/eval/backend", "x", "/explorer/eval: backend must be one of gymnasium, ale, envpool, got 'x'"),
    ],
)  # fmt: skip
def test_a_tree_with_what_nothing_reads_or_nothing_can_run_is_refused(path, value, message):
    module = load_params("params.ppo_classic")
    tree = _changed(module.gen_params(module.cpanel), path, value)
    with pytest.raises(UsageError, match=message):
        check_tree(tree, Runner)


@pytest.mark.parametrize("name", ["a/b", "", " a", "a\nb", ".."])
def test_an_agent_has_a_name_that_can_stand_in_paths(name):
    module = load_params("params.ppo_classic")
    tree = module.gen_params(module.cpanel)
    tree["agents"] = {name: tree["agents"]["agent"]}
    with pytest.raises(UsageError, match="name of an agent must be a plain word"):
        check_tree(tree, Runner)


def test_a_number_takes_the_place_of_a_schedule_within_a_dictionary_too():
    module = load_params("params.sac_demo")
    plain = to_plain(module.gen_params(module.cpanel))
    changed = override_tree(plain, {"/agents/agent/sampler/shares/demo": 0.3})
    assert changed["agents"]["agent"]["sampler"]["shares"] == {"demo": 0.3}
    with pytest.raises(UsageError, match="must be a described component"):
        override_tree(plain, {"/agents/agent/sampler": 0.3})
