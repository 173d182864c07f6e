"""Estimates of advantages and returns from trajectories."""

import numpy as np


def generalized_advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    terminations: np.ndarray,
    masks: np.ndarray,
    *,
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Generalised advantage estimates of a chunk, not normalised.

    A termination removes the bootstrap; any end of an episode stops the trace. With `gae_lambda=1` the advantage is the
    discounted return, bootstrapped at the end of the chunk, minus the value.
    Source: Schulman et al. 2016, arXiv:1506.02438, Eq. 16.

    Args:
        rewards: float32 (N, T), reward of the step taken at each row.
        values: float32 (N, T + 1), V of each row's observation, the half-step included.
        terminations: bool (N, T), the step ended in a terminal state.
        masks: bool (N, T + 1), False where the row is a half-step.
        gamma: discount per step, in [0, 1].
        gae_lambda: bias-variance trade-off, in [0, 1].

    Returns:
        float32 (N, T); rows without a transition hold 0.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    shape = rewards.shape
    if terminations.shape != shape or not values.shape == masks.shape == (shape[0], shape[1] + 1):
        raise ValueError(
            f"rewards {shape} and terminations {terminations.shape} must be (N, T), values {values.shape} and masks "
            f"{masks.shape} (N, T + 1)."
        )
    deltas = (rewards + gamma * values[:, 1:] * ~terminations - values[:, :-1]) * masks[:, :-1]
    # Time first: the recursion then runs over contiguous rows.
    advantages = np.ascontiguousarray(deltas.T, np.float32)
    decay = np.ascontiguousarray((gamma * gae_lambda * masks[:, 1:] * masks[:, :-1]).T, np.float32)
    decayed, trace = np.empty(shape[0], np.float32), np.zeros(shape[0], np.float32)
    for delta, factor in zip(list(advantages)[::-1], list(decay)[::-1], strict=True):
        np.multiply(factor, trace, decayed)
        delta += decayed
        trace = delta
    return np.ascontiguousarray(advantages.T)
