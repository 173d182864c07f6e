"""Generators: one for each purpose, and back to where they were."""

import itertools

import numpy as np

from digideep.utility.seeding import derive_seed, generator_state, make_generator, set_generator_state


def test_different_purposes_draw_different_numbers_and_the_same_purpose_the_same():
    purposes = [(seed, mode, rank) for seed in (0, 1) for mode in ("train", "test", "eval") for rank in range(120)]
    draws = {purpose: make_generator(purpose[0], *purpose[1:]).integers(2**62) for purpose in purposes}
    assert len(set(draws.values())) == len(purposes)
    assert make_generator(1, "test", 5).integers(2**62) == draws[1, "test", 5]
    assert derive_seed(3, "a") == derive_seed(3, "a") != derive_seed(3, "b")


def test_a_generator_goes_back_to_its_state():
    generator = make_generator(0, "x")
    generator.normal(size=3)
    state = generator_state(generator)
    expected = generator.normal(size=5)
    other = make_generator(9, "y")
    set_generator_state(other, state)
    np.testing.assert_array_equal(other.normal(size=5), expected)
    assert all(isinstance(key, str) for key in itertools.chain(state, state["state"]))
