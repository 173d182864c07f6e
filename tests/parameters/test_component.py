"""Describing, checking and building components."""

from typing import Literal

import pytest

from digideep.learning.optimizers import Adam, Optimizer
from digideep.memory.generic import Memory
from digideep.parameters.component import Component, build, describe, dotted_name, parameters_of, resolve
from digideep.parameters.schedule import Constant, Course, Linear, Schedule
from digideep.utility.errors import UsageError


class Lamp(Component):
    def __init__(self, room, wire=None, *, watts, colour="white"):
        self.room, self.wire, self.watts, self.colour = room, wire, watts, colour


def test_run_time_arguments_are_injected_by_name_and_the_rest_is_left_out():
    lamp = build(describe(Lamp, watts=5), Lamp, room="hall", garden="rose")
    assert (lamp.room, lamp.wire, lamp.watts, lamp.colour) == ("hall", None, 5, "white")


@pytest.mark.parametrize(
    ("cls", "parameters", "message"),
    [
        (Lamp, {"wats": 5}, r"Lamp has no parameter 'wats'. Did you mean 'watts'\?"),
        (Lamp, {}, "Lamp needs the parameter 'watts'"),
        (Lamp, {"watts": 5, "room": "hall"}, "Lamp has no parameter 'room'"),
        (dict, {}, "is no digideep component"),
        (print, {}, "is no digideep component"),
    ],
)
def test_a_wrong_description_fails_where_it_is_written(cls, parameters, message):
    with pytest.raises(UsageError, match=message):
        describe(cls, **parameters)


def test_a_component_of_the_wrong_kind_is_not_built():
    with pytest.raises(UsageError, match=r"Linear cannot stand here: a Memory is expected"):
        build(describe(Linear, start=1.0, duration=1), Memory)


class Lantern(Lamp):
    """Ends in **parameters, hides a parent's parameter and makes a run-time argument a parameter."""

    def __init__(self, room, *, handle: bool = True, colour: Literal["red", "green"] = "red", wire: int = 1, **more):
        super().__init__(room, wire, colour=colour, **more)
        self.handle = handle


class Dimmed(Component):
    """A mixin."""

    def __init__(self, *, level: float, **kwargs):
        super().__init__(**kwargs)
        self.level = level


class StormLantern(Dimmed, Lantern):
    """Three levels and a mixin, without a constructor of its own."""


class Torch(Lamp):
    """A parent without **parameters."""

    def __init__(self, *, fuel: str):
        super().__init__("hand", watts=0)
        self.fuel = fuel


class OlympicTorch(Torch):
    def __init__(self, city, *, year: int, **parameters):
        super().__init__(**parameters)
        self.city, self.year = city, year


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Lamp, ["watts", "colour"]),
        (Lantern, ["handle", "colour", "wire", "watts"]),
        (StormLantern, ["level", "handle", "colour", "wire", "watts"]),
        (OlympicTorch, ["year", "fuel"]),
    ],
)
def test_parameters_continue_at_the_next_constructor_where_one_ends_in_var_keyword(cls, names):
    assert list(parameters_of(cls)) == names


def test_what_a_subclass_names_itself_hides_its_parents():
    assert parameters_of(Lantern)["colour"].default == "red"
    with pytest.raises(UsageError, match="Lantern: colour must be one of red, green, got 'white'"):
        describe(Lantern, watts=5, colour="white")
    lantern = build(describe(Lantern, watts=5, wire=7), Lamp, room="hall", wire="copper")
    assert (lantern.room, lantern.wire) == ("hall", 7)


def test_run_time_arguments_reach_parents_through_var_keyword():
    lantern = build(describe(StormLantern, watts=5, level=0.5, handle=False), Lamp, room="hall", garden="rose")
    assert (lantern.room, lantern.wire, lantern.level, lantern.handle, lantern.watts) == ("hall", 1, 0.5, False, 5)
    torch = build(describe(OlympicTorch, year=1896, fuel="oil"), Lamp, room="hall", city="Athens")
    assert (torch.room, torch.city, torch.fuel) == ("hand", "Athens", "oil")


@pytest.mark.parametrize(
    ("cls", "parameters", "message"),
    [
        (StormLantern, {"watts": 5}, "StormLantern needs the parameter 'level'"),
        (StormLantern, {"level": 0.5}, "StormLantern needs the parameter 'watts'"),
        (StormLantern, {"level": 0.5, "wats": 5}, r"StormLantern has no parameter 'wats'. Did you mean 'watts'\?"),
        (StormLantern, {"level": "low", "watts": 5}, "StormLantern: level must be a number, got 'low'"),
        (StormLantern, {"level": 0.5, "watts": 5, "kwargs": {}}, "StormLantern has no parameter 'kwargs'"),
        (OlympicTorch, {"year": 1896, "fuel": "oil", "watts": 5}, "OlympicTorch has no parameter 'watts'"),
    ],
)
def test_inherited_parameters_are_checked_like_own_ones(cls, parameters, message):
    with pytest.raises(UsageError, match=message):
        describe(cls, **parameters)


def test_names_lead_back_to_classes():
    assert resolve(dotted_name(Adam)) is Adam
    assert isinstance(build(describe(Adam), Optimizer), Adam)


def test_the_standard_library_is_not_even_imported():
    import sys

    sys.modules.pop("antigravity", None)
    with pytest.raises(UsageError, match="is no digideep component"):
        resolve("antigravity.fly")
    assert "antigravity" not in sys.modules


def test_schedules_are_functions_of_the_updates_done():
    line = build(describe(Linear, start=1.0, end=0.5, duration=10), Schedule)
    assert [line(n) for n in (0, 5, 10, 99)] == [1.0, 0.75, 0.5, 0.5]
    assert Course(0.3)(7) == 0.3
    assert Course(describe(Constant, value=2.0))(0) == 2.0


class Asking(Lamp):
    def __init__(self, room, agent, **parameters):
        super().__init__(room, **parameters)


@pytest.mark.parametrize(
    ("description", "base", "message"),
    [
        (describe(Optimizer), Optimizer, "Optimizer cannot stand here: it leaves to its subclasses what"),
        (describe(Schedule), Schedule, "Schedule cannot stand here: it leaves to its subclasses what"),
        (describe(Asking, watts=5), Lamp, "Asking cannot stand here: it asks for 'agent', and is given 'room'"),
    ],
)
def test_what_cannot_be_built_here_is_refused_before_it_is_tried(description, base, message):
    with pytest.raises(UsageError, match=message):
        build(description, base, room="hall")
