"""Scaling of continuous actions into a Box: exact at both ends, never outside, finite; the same on torch's tensors."""

import warnings

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from digideep.environment.scaling import BoxScaler
from digideep.environment.spaces import ActionScaler

FLOATS, INTEGERS = ["float32", "float64"], ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
UNIT = np.concatenate([[-1, 1, 0, 9, -9], np.nextafter(np.float32([1, -1]), np.float32(0)), np.linspace(-1, 1, 31)])


def random_floats(generator, dtype, size):
    largest = float(np.finfo(dtype).max)
    kinds = [
        generator.uniform(-1, 1, (2, size)),
        generator.uniform(-1, 1, (2, size)) * 10.0 ** generator.integers(-6, 7, (2, size)),
        generator.uniform(-1, 1, (2, size)) * 10.0 ** generator.uniform(-37, 38, (2, size)),
        generator.uniform(-1, 1, (2, size)) * largest,
        generator.choice([-1.0, 1.0, -0.999, 0.0], (2, size)) * largest,
        generator.integers(-10, 11, (2, size)) / generator.choice([1, 2, 3, 10], (2, size)),
    ]
    return np.choose(generator.integers(len(kinds), size=size), kinds).astype(dtype)


def random_integers(generator, dtype, size):
    limits = np.iinfo(dtype)
    widths = [min(limits.max - limits.min, 2 ** int(n)) for n in generator.integers(0, 65, size)]
    low = [limits.min + int(generator.random() * (limits.max - limits.min - width)) for width in widths]
    return np.array([low, [each + width for each, width in zip(low, widths, strict=True)]], dtype)


def random_box(generator, dtype, size):
    ends = random_floats(generator, dtype, size) if dtype in FLOATS else random_integers(generator, dtype, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gymnasium, on large bounds
        return Box(ends.min(0), ends.max(0), dtype=np.dtype(dtype).type)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_every_box_is_reached_at_both_ends_and_never_left(dtype):
    generator = np.random.default_rng(FLOATS.index(dtype) if dtype in FLOATS else 9)
    for size in [1] * 60 + [100] * 10:
        space = random_box(generator, dtype, size)
        unit = np.repeat(UNIT[:, None], size, axis=1).astype(np.float32)
        scaled = BoxScaler(space)(unit)
        assert scaled.dtype == space.dtype
        assert np.isfinite(scaled).all()
        assert (scaled >= space.low).all(), space
        assert (scaled <= space.high).all(), space
        for end, rows in ((space.low, [0, 4]), (space.high, [1, 3])):
            assert (scaled[rows] == end).all(), (space, scaled[rows])
        ordered = scaled[np.argsort(UNIT, kind="stable")]
        assert (ordered[1:] >= ordered[:-1]).all(), space
        on_torch = BoxScaler(space, torch)(torch.from_numpy(unit))
        np.testing.assert_array_equal(on_torch.numpy(), scaled)


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.0), (-2.0, 2.0), (-0.4, 0.4), (0.0, 10.0), (-1.0, 3.0)], ids=str
)  # as in the recipes, and others whose ends come out exactly
def test_plain_boxes_keep_their_arithmetic_to_the_last_bit(low, high):
    actions = np.random.default_rng(0).uniform(-1.2, 1.2, (500, 2)).astype(np.float32)
    scale, center = np.float32((high - low) / 2), np.float32((high + low) / 2)
    expected = np.clip(actions, np.float32(-1), np.float32(1)) * scale + center
    np.testing.assert_array_equal(ActionScaler(Box(low, high, (2,), np.float32))(actions), expected)


def test_the_middle_of_a_box_is_its_middle():
    space = Box(np.float32([0, -np.pi / 4, 0.1, -0.3]), np.float32([5, np.pi / 4, 0.3, 0.7]))
    assert ActionScaler(space)(np.zeros((1, 4), np.float32))[0] == pytest.approx([2.5, 0, 0.2, 0.2])
    assert ActionScaler(Box(-4, 10, (1,), np.int32))(np.float32([[0.5], [-0.5]])).tolist() == [[6], [0]]
    assert ActionScaler(Box(-3.4e38, 3.4e38, (1,), np.float32))(np.float32([[0.5]]))[0] == pytest.approx(1.7e38)


def test_a_bound_alone_is_kept_in_the_dtype_of_its_box():
    space = Box(np.array([-0.1, -np.inf, -np.inf]), np.array([np.inf, 0.1, np.inf]), dtype=np.float64)
    scaled = ActionScaler(space)(np.float32([[-7, 7, 7], [3, -3, -3]]))
    assert scaled.tolist() == [[-0.1, 0.1, 7], [3, -3, -3]]
    half = Box(np.float16([-0.1, -np.inf]), np.float16([0.3, 0.1]), dtype=np.float16)
    assert all(
        half.contains(row.astype(np.float16)) for row in ActionScaler(half)(np.float32([[-9, 9], [9, -9], [0.1, 0]]))
    )


def test_a_box_of_booleans_is_chosen_from():
    space = Box(np.zeros(2, np.bool_), np.ones(2, np.bool_), dtype=np.bool_)
    assert ActionScaler(space)(np.float32([[-1, 1], [0.3, -0.3]])).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("space", "chosen"),
    [
        (Discrete(3, start=-1), np.array([0, 2])),
        (MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [5, 9]]), np.array([[0, 1, 2, 1], [1, 2, 3, 0]])),
        (Box(np.float32([[0, -1], [0.1, -np.inf]]), np.float32([[5, 1], [0.3, 2]])), np.float32([[1, -1, 0.3, 9]] * 2)),
    ],
)
def test_the_edge_does_the_same_with_torchs_tensors(space, chosen):
    found = ActionScaler(space, torch)(torch.from_numpy(chosen))
    np.testing.assert_array_equal(found.numpy(), ActionScaler(space)(chosen))


def test_what_torch_traces_scales_as_the_session_does():
    class Edge(torch.nn.Module):
        def __init__(self, space):
            super().__init__()
            self.edge = ActionScaler(space, torch)

        def forward(self, actions):
            return self.edge(actions)

    space = Box(np.float32([0, 0.1, -0.3]), np.float32([5, 0.3, 0.7]))
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (64, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of tracing
        traced = torch.jit.trace(Edge(space), torch.from_numpy(actions[:2]))
    np.testing.assert_array_equal(traced(torch.from_numpy(actions)).numpy(), ActionScaler(space)(actions))
