"""Generalised advantage estimates against brute force and against numbers worked out by hand."""

import numpy as np
import pytest

from digideep.agent.advantages import generalized_advantages


def brute_force(rewards, values, terminations, masks, gamma, gae_lambda):
    """The sum of Eq. 16, term by term, for each row anew: O(T^2)."""
    workers, length = rewards.shape
    result = np.zeros((workers, length))
    for w in range(workers):
        for t in range(length):
            k = t
            while k < length and masks[w, k]:
                bootstrap = 0.0 if terminations[w, k] else values[w, k + 1]
                delta = rewards[w, k] + gamma * bootstrap - values[w, k]
                result[w, t] += (gamma * gae_lambda) ** (k - t) * delta
                k += 1
    return result


@pytest.mark.parametrize("gae_lambda", [0.0, 0.95, 1.0])
def test_gae_equals_a_brute_force_sum_with_both_kinds_of_ends(gae_lambda):
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(3, 40)).astype(np.float32), rng.normal(size=(3, 41)).astype(np.float32)
    masks = rng.random((3, 41)) > 0.2
    masks[0] = True  # a worker whose episode does not end
    ends = masks[:, :-1] & ~masks[:, 1:]
    terminations = ends & (rng.random((3, 40)) > 0.5)
    assert terminations.any()
    assert (ends & ~terminations).any()
    ours = generalized_advantages(rewards, values, terminations, masks, gamma=0.9, gae_lambda=gae_lambda)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, brute_force(rewards, values, terminations, masks, 0.9, gae_lambda), atol=1e-5)


def test_a_truncation_keeps_the_bootstrap_and_a_termination_removes_it():
    rewards, values = np.array([[1.0, 1.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 10.0, 0.0, 20.0]])
    masks = np.array([[True, True, False, True, True]])
    for is_terminal, expected in ((False, [1 + 0.5 * 6, 6.0, 0.0, 11.0]), (True, [1.5, 1.0, 0.0, 11.0])):
        terminations = np.array([[False, is_terminal, False, False]])
        ours = generalized_advantages(rewards, values, terminations, masks, gamma=0.5, gae_lambda=1.0)
        assert ours[0].tolist() == expected


def test_shapes_that_do_not_fit_are_refused():
    good = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"masks \(2, 3\) \(N, T \+ 1\)"):
        generalized_advantages(good, good, good.astype(bool), good.astype(bool), gamma=1, gae_lambda=1)
