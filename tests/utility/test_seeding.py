"""Generators: one for each purpose, and back to where they were."""

import itertools
import random

import numpy as np
import torch

from digideep.utility.process_state import globals_state, left_as_it_was, set_globals_state
from digideep.utility.seeding import derive_seed, generator_state, make_generator, seed_globals, set_generator_state


def test_different_purposes_draw_different_numbers_and_the_same_purpose_the_same():
    purposes = [(seed, mode, rank) for seed in (0, 1) for mode in ("train", "test", "eval") for rank in range(120)]
    draws = {purpose: make_generator(purpose[0], *purpose[1:]).integers(2**62) for purpose in purposes}
    assert len(set(draws.values())) == len(purposes)
    assert make_generator(1, "test", 5).integers(2**62) == draws[1, "test", 5]
    assert derive_seed(3, "a") == derive_seed(3, "a") != derive_seed(3, "b")


def test_a_purpose_means_the_same_numbers_in_each_process_and_version():
    assert derive_seed(3, "explorer", 5) == 4010908389675789788
    assert make_generator(0, "environment", "train", 1).integers(2**31, size=2).tolist() == [260578244, 1146671235]


def test_global_generators_of_two_purposes_differ_in_every_library():
    drawn = []
    with left_as_it_was():
        for purpose in (("train", 0), ("train", 1), ("train", 0)):
            seed_globals(7, *purpose)
            drawn.append((random.random(), np.random.random(), torch.rand(1).item()))
    assert drawn[0] == drawn[2]
    assert all(one != other for one, other in zip(drawn[0], drawn[1], strict=True))


def test_global_generators_go_back_to_where_they_were_amid_a_pair_of_normal_numbers():
    def draw():
        return random.random(), random.gauss(0, 1), np.random.random(), np.random.normal(), torch.rand(1).item()

    with left_as_it_was():
        random.gauss(0, 1), np.random.normal()  # each draws two, and keeps the second
        state = globals_state()
        expected = [draw() for _ in range(3)]
        set_globals_state(state)
        assert [draw() for _ in range(3)] == expected


def test_a_generator_goes_back_to_its_state():
    generator = make_generator(0, "x")
    generator.normal(size=3)
    state = generator_state(generator)
    expected = generator.normal(size=5)
    other = make_generator(9, "y")
    set_generator_state(other, state)
    np.testing.assert_array_equal(other.normal(size=5), expected)
    assert all(isinstance(key, str) for key in itertools.chain(state, state["state"]))
