"""`--repeal` reaches each parameter of each component that a recipe describes, with any value that its type allows."""

import argparse
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from digideep.agent.ppo import PPO
from digideep.parameters.component import Description, describe, dotted_name, parameters_of, resolve
from digideep.parameters.control_panel import load_params, override_panel
from digideep.parameters.tree import from_plain, override_tree, to_plain
from digideep.pipeline.argument_types import assignment, json_object
from digideep.utility.errors import UsageError
from tests.support.helpers import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "params").glob("*_*.py"))
CONSTANT = {"class": "digideep.parameters.schedule.Constant", "value": 0.5}
VALUES = [None, True, 3, 0.5, "word", [1], {"a": 1}, CONSTANT]


def tree_of(recipe):
    module = load_params(f"params.{recipe}")
    return to_plain(module.gen_params(module.cpanel))


def components(node, path=""):
    """Yield each described component with its path."""
    if isinstance(node, dict):
        if "class" in node:
            yield path, node
        for key, child in node.items():
            yield from components(child, f"{path}/{key}")
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from components(child, f"{path}/{index}")


def fits(value, annotation, default):
    """True if a type allows a value, written down once more for this test: parts of lists and dictionaries aside."""
    if value is None and default is None:
        return True
    if get_origin(annotation) in (Union, types.UnionType):
        return any(fits(value, option, ...) for option in get_args(annotation))
    if annotation is Any:
        return True
    if annotation == Description:
        return value is CONSTANT
    if get_origin(annotation) is Annotated:
        return fits(value, get_args(annotation)[0], ...)
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    kind = get_origin(annotation) or annotation
    if kind in (bool, int, str, float):
        return type(value) is kind or (kind is float and type(value) is int)
    return isinstance(value, kind) if isinstance(kind, type) and kind is not type(None) else value is None


def places():
    """Return recipe, path and class of each kind of component in the recipes, once."""
    found = {}
    for recipe in RECIPES:
        for path, node in components(tree_of(recipe)):
            name = node["class"]
            found.setdefault(name, pytest.param(recipe, path, resolve(name), id=name.rpartition(".")[2]))
    return list(found.values())


def override(tree, place, value):
    """Return the changed tree, or the refusal."""
    try:
        return override_tree(tree, {place: value})
    except UsageError as refusal:
        return str(refusal)


@pytest.mark.parametrize(("recipe", "path", "cls"), places())
def test_each_parameter_takes_each_type_that_it_has_and_refuses_others_in_one_line(recipe, path, cls):
    tree = tree_of(recipe)
    for name, parameter in parameters_of(cls).items():
        place = f"{path}/{name}"
        for value in VALUES:
            changed = override(tree, place, value)
            if isinstance(changed, str):
                assert changed.startswith(f"--repeal '{place}'")
                assert len(changed.splitlines()) == 1
                may_be_described = Description in (parameter.annotation, *get_args(parameter.annotation))
                # What is in a list or a dictionary may be of another type.
                may_be_named = any(get_origin(each) is dict for each in get_args(parameter.annotation))
                is_open = isinstance(value, dict) and (may_be_named or not may_be_described)
                is_other_inside = isinstance(value, list) or is_open
                assert is_other_inside or not fits(value, parameter.annotation, parameter.default)
            else:
                assert fits(value, parameter.annotation, parameter.default), (place, value)
                from_plain(changed)
                for key in place.strip("/").split("/"):
                    changed = changed[int(key) if isinstance(changed, list) else key]
                assert changed == value


@pytest.mark.parametrize(("recipe", "path", "cls"), places())
def test_the_name_of_a_parameter_with_a_slip_is_refused_with_the_right_one(recipe, path, cls):
    tree = tree_of(recipe)
    for name in [name for name in parameters_of(cls) if len(name) > 5]:
        with pytest.raises(UsageError, match=f"there is no '{name}x' under '{path}'. Did you mean '{name}'"):
            override_tree(tree, {f"{path}/{name}x": 1})


class Careful(PPO):
    """A method of one's own, which leaves the parameters of its parent to it."""

    def __init__(self, context, *, patience: float | Description | None = None, **parameters):
        super().__init__(context, **parameters)
        self.patience = patience


@pytest.mark.parametrize(
    ("name", "value"),
    [("patience", 2), ("patience", CONSTANT), ("patience", None), ("target_kl", 0.02), ("lr", 1e-3), ("lr", CONSTANT)],
)
def test_parameters_of_a_parent_are_reached_in_a_subclass(name, value):
    module = load_params("params.ppo_classic")
    tree = module.gen_params(module.cpanel)
    agent = {key: each for key, each in tree["agents"]["agent"].items() if key != "class"}
    plain = to_plain(tree | {"agents": {"agent": describe(Careful, **agent)}})
    assert plain["agents"]["agent"]["class"] == dotted_name(Careful)
    changed = override_tree(plain, {f"/agents/agent/{name}": value})
    assert changed["agents"]["agent"][name] == value
    from_plain(changed)


TUPLE = '{"__tuple__": true, "items": [84, 84]}'


def test_hints_of_2019_make_tuples_and_numbers_of_json():
    assert json_object(f'{{"size": {TUPLE}, "rate": {{"__numpy__": true, "items": 0.5}}}}') == {
        "size": (84, 84), "rate": 0.5,
    }  # fmt: skip
    assert assignment(f"size={TUPLE}") == ("size", (84, 84))
    panel = {"size": (64, 64), "sizes": [1, 2], "free": None}
    assert override_panel(panel, {"size": [84, 84]})["size"] == (84, 84), "a tuple stays one"
    assert override_panel(panel, {"size": (84, 84), "free": (1,)}) == {"size": (84, 84), "sizes": [1, 2], "free": (1,)}


@pytest.mark.parametrize("text", [
    '{"a": {"__tuple__": true, "items": 3}}', '{"a": {"__tuple__": true}}', '{"a": {"__tuple__": 1, "items": []}}',
    '{"a": {"__numpy__": true, "items": {}}}', '{"a": {"__tuple__": true, "items": [], "more": 1}}',
])  # fmt: skip
def test_a_hint_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"__(tuple|numpy)__"):
        json_object(text)
