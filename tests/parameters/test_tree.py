"""The parameter tree: to plain values, to YAML, back, and changed by path."""

import pytest
import yaml

from digideep.agent.ppo import PPO
from digideep.memory.generic import Memory
from digideep.parameters.control_panel import load_params, override_panel
from digideep.parameters.tree import dump_yaml, from_plain, override_tree, to_plain
from digideep.utility.component import describe
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
