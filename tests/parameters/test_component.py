"""Describing, checking and building components."""

import pytest

from digideep.learning.optimizers import Adam, Optimizer
from digideep.memory.generic import Memory
from digideep.parameters.component import Component, build, describe, dotted_name, resolve
from digideep.parameters.schedule import Constant, Linear, Schedule, as_schedule
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
    assert as_schedule(0.3)(7) == 0.3
    assert as_schedule(describe(Constant, value=2.0))(0) == 2.0
