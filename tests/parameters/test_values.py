"""Values beside annotations."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from digideep.parameters.component import Component, Description, build, check_parameters, describe
from digideep.parameters.values import fit_value
from digideep.utility.errors import UsageError

LAMP = {"class": "Lamp", "watts": 5}


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (True, bool),
        (3, int),
        (np.int16(3), int),
        (0.5, float),
        (3, float),
        (np.float32(0.5), float),
        ("x", str),
        (None, int | None),
        (3, int | None),
        ((1, 2), list[int]),
        ([], list[str]),
        ([1, "x", None], list),
        ([1, None], list[int | None]),
        ({"a": [1.5]}, dict[str, list[float]]),
        ({"a": None}, dict[str, Any]),
        ({"a": ["x", 1]}, Mapping[str, Sequence[str | int]]),
        (LAMP, Description),
        (0.5, float | Description),
        (LAMP, float | Description),
        ([LAMP], list[Description]),
        ("on", Literal["on", "off"]),
        ((1, 2.5), tuple[int, float]),
        ((1, 2, 3), tuple[int, ...]),
        (dict, type | str),
        (None, Any),
        ("x", Path),  # of these annotations nothing is known
        ("x", Callable[..., Any]),
    ],
)
def test_a_value_that_fits_passes(value, annotation):
    assert fit_value("it", value, annotation) == value


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (None, bool, "it must be true or false, got null"),
        (1, bool, "it must be true or false, got 1"),
        (np.int64(1), bool, "it must be true or false, got 1"),
        (True, int, "it must be an integer, got True"),
        (2.0, int, "it must be an integer, got 2.0"),
        (np.bool_(True), float, "it must be a number, got True"),
        ("1", float, "it must be a number, got '1'"),
        ("1", float | None, "it must be a number or null, got '1'"),
        (2**63, int, "it must be an integer of 64 bits, got 9223372036854775808"),
        (float("nan"), float, "it must be a finite number"),
        (-float("inf"), float | None, "it must be a finite number"),
        (1e39, float, "it must be a finite number, at most 3.4e"),
        (10**400, float, "it must be a finite number"),
        ("ab", list[str], "it must be a list of strings, got 'ab'"),
        ("ab", Sequence[str], "it must be a list of strings, got 'ab'"),
        ([1, None], list[int], r"it\[1\] must be an integer, got null"),
        ({"a": ["x", [0]]}, dict[str, list[str | int]], r"it\['a'\]\[1\] must be a string or an integer"),
        ({1: 2}, dict[str, Any], "it, each key must be a string, got 1"),
        ([], dict[str, Any], "it must be an object, got"),
        ({}, Description, "it must be a described component such as"),
        (None, Description, "it must be a described component such as"),
        ("x", float | Description, "it must be a described component such as .* or a number"),
        ([LAMP, {}], list[Description], r"it\[1\] must be a described component"),
        ("maybe", Literal["on", "off"], "it must be one of on, off, got 'maybe'"),
        ((1,), tuple[int, int], "it must have 2 items"),
        ("x" * 1000, int, r"x\.\.\. \(1002 characters\)"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(value, annotation, message):
    with pytest.raises(UsageError, match=message):
        fit_value("it", value, annotation)


def test_an_integer_in_the_place_of_a_number_becomes_one():
    assert isinstance(fit_value("it", 3, float | None), float)
    assert isinstance(fit_value("it", 3, int | float), int)


class Lamp(Component):
    def __init__(self, *, watts: float, colour: str = "white", dimmer: int = None, cover: "Unknown" = 3):  # noqa: F821, RUF013
        self.watts, self.colour, self.dimmer, self.cover = watts, colour, dimmer, cover


class Lantern(Component):
    def __init__(self, *, lamp: Description, size: int | None = 3, anything=1):
        self.lamp, self.size = lamp, size


def test_every_component_is_checked_by_its_annotations():
    with pytest.raises(UsageError, match="Lantern: size must be an integer or null, got 'x'"):
        describe(Lantern, lamp=describe(Lamp, watts=1), size="x")
    with pytest.raises(UsageError, match=r"Lantern: lamp must be a described component such as .*, got null"):
        check_parameters(Lantern, {"lamp": None})
    assert describe(Lantern, lamp=describe(Lamp, watts=1), size=None, anything=None)["size"] is None


def test_an_annotation_that_cannot_be_read_refuses_nothing():
    assert describe(Lamp, watts=1, cover=[None], dimmer=None)["cover"] == [None]
    with pytest.raises(UsageError, match="Lamp: watts must be a number"):
        describe(Lamp, watts="many")


def test_an_integer_that_python_does_not_write_is_refused_in_words():
    with pytest.raises(UsageError, match="it must be an integer of 64 bits, got an integer of 16610 bits"):
        fit_value("it", 10**5000, int)


@pytest.mark.parametrize("description", [None, {}, 5, "x", [], {"watts": 5}])
def test_what_describes_nothing_is_not_built(description):
    with pytest.raises(UsageError, match="A described Lamp is expected, got"):
        build(description, Lamp)
