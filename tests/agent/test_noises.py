"""Noise processes."""

import numpy as np
import pytest

from digideep.agent.noises import EpsilonGreedy, GaussianNoise, OrnsteinUhlenbeckNoise
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.utility.errors import UsageError


def generator(seed=0):
    return np.random.default_rng(seed)


ALIVE = np.ones(3, bool)
CENTRE = np.zeros((3, 2), np.float32)


def test_gaussian_noise_has_its_spread_and_stays_within_the_range():
    noise = GaussianNoise(generator(), std=0.1)
    samples = np.concatenate([noise(CENTRE, ALIVE, 0, None) for _ in range(2000)])
    assert samples.dtype == np.float32
    assert samples.std() == pytest.approx(0.1, rel=0.05)
    assert samples.mean() == pytest.approx(0, abs=0.01)
    assert noise(CENTRE + 1, ALIVE, 0, None).max() <= 1
    assert not CENTRE.any(), "the policy's own array is left alone"


def test_ornstein_uhlenbeck_noise_drifts_as_its_equation_says():
    noise, normal = OrnsteinUhlenbeckNoise(generator(), std=0.2, theta=0.15), generator()
    level = np.zeros((3, 2))
    for _ in range(50):
        level = level + 0.15 * (0 - level) + 0.2 * normal.standard_normal((3, 2), np.float32)
        np.testing.assert_allclose(noise(CENTRE, ALIVE, 0, None), np.clip(level, -1, 1), atol=1e-5)


def test_ornstein_uhlenbeck_noise_begins_anew_with_each_workers_episode():
    noise, other = (OrnsteinUhlenbeckNoise(generator(), std=0.2) for _ in range(2))
    for _ in range(10):
        noise(CENTRE, ALIVE, 0, None)
        other(CENTRE, ALIVE, 0, None)
    noise(CENTRE, np.array([True, False, True]), 0, None)  # worker 1's episode is over at this row
    other(CENTRE, ALIVE, 0, None)
    fresh = OrnsteinUhlenbeckNoise(generator(), std=0.2)
    fresh.generator.bit_generator.state = noise.generator.bit_generator.state
    after, unbroken, begun = (each(CENTRE, ALIVE, 0, None) for each in (noise, other, fresh))
    np.testing.assert_array_equal(after[1], begun[1])
    np.testing.assert_array_equal(after[[0, 2]], unbroken[[0, 2]])


def test_epsilon_greedy_is_random_as_often_as_its_schedule_says():
    noise = EpsilonGreedy(generator(), 4, epsilon=describe(Linear, start=1.0, end=0.1, duration=1000))
    greedy, alive = np.full(1000, 2), np.ones(1000, bool)
    for frames, epsilon in ((0, 1.0), (500, 0.55), (1000, 0.1), (10**9, 0.1)):
        others = np.mean([(noise(greedy, alive, frames, None) != 2).mean() for _ in range(20)])
        assert others == pytest.approx(epsilon * 3 / 4, abs=0.02)
    assert set(noise(greedy, alive, 0, None)) == {0, 1, 2, 3}
    assert noise(greedy, alive, 0, None).dtype == np.int64


@pytest.mark.parametrize("make", [
    lambda seed: GaussianNoise(generator(seed), std=0.1),
    lambda seed: OrnsteinUhlenbeckNoise(generator(seed), std=0.1),
])  # fmt: skip
def test_a_restored_noise_goes_on_exactly(make):
    first, second = make(1), make(2)
    for _ in range(5):
        first(CENTRE, ALIVE, 0, None)
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first(CENTRE, ALIVE, 0, None), second(CENTRE, ALIVE, 0, None))


def test_impossible_values_are_refused():
    with pytest.raises(UsageError, match="std must be a finite number of at least 0, got -1"):
        GaussianNoise(generator(), std=-1)
    with pytest.raises(UsageError, match="theta must be a number in"):
        OrnsteinUhlenbeckNoise(generator(), std=0.1, theta=2)
    with pytest.raises(UsageError, match="epsilon must be a number in"):
        EpsilonGreedy(generator(), 2, epsilon=1.5)
    with pytest.raises(UsageError, match=r"epsilon must be a number in \[0, 1\], got 5"):
        EpsilonGreedy(generator(), 2, planned_frames=100, epsilon=describe(Linear, start=1.0, end=5.0))


def test_an_epsilon_lets_gaussian_noise_give_way_to_uniform_actions():
    noise, plain = GaussianNoise(generator(), std=0.01, epsilon=0.3), GaussianNoise(generator(), std=0.01)
    many, alive = np.full((1000, 1), 0.9, np.float32), np.ones(1000, bool)
    changed = np.concatenate([noise(many, alive, 0, None) for _ in range(100)])
    is_random = np.abs(changed - 0.9) > 0.05
    assert changed.dtype == np.float32
    assert is_random.mean() == pytest.approx(0.3 * (1 - 0.1 / 2), abs=0.01)  # some fall near it by chance
    assert changed[is_random].mean() == pytest.approx(-0.047, abs=0.01)
    assert changed.min() == pytest.approx(-1, abs=0.01)
    assert np.abs(plain(many, alive, 0, None) - 0.9).max() < 0.05


def test_an_epsilon_outside_of_probabilities_is_refused():
    with pytest.raises(UsageError, match=r"epsilon must be a number in \[0, 1\], got 1.5"):
        GaussianNoise(generator(), std=0.1, epsilon=1.5)
