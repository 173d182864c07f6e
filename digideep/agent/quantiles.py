"""Distributions of returns by their quantiles: Huber's loss of quantile regression."""

import torch
from torch import Tensor


def quantile_huber_loss(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Huber's quantile loss, with its threshold at 1. Source: Dabney et al. 2018, arXiv:1710.10044, Eq. 9 and 10.

    Summed over the quantiles that are learned, and the mean over those of the target, as in Algorithm 1 there.

    Args:
        quantiles: float32 (..., B, K), at the levels (2 i + 1) / (2 K): Lemma 2.
        targets: float32 (B, M), samples or quantiles of the targets' distribution.

    Returns:
        float32 (..., B).
    """
    size = quantiles.shape[-1]
    levels = (torch.arange(size, device=quantiles.device) + 0.5) / size
    errors = targets[:, None, :] - quantiles[..., None]  # (..., B, K, M)
    magnitude = errors.abs()
    huber = torch.where(magnitude > 1, magnitude - 0.5, 0.5 * errors.square())
    weights = (levels[:, None] - (errors.detach() < 0).float()).abs()
    return (weights * huber).mean(-1).sum(-1)


def mean_error(quantiles: Tensor, targets: Tensor) -> Tensor:
    """How far the means of two distributions lie apart: a priority. Args: see above. Returns: float32 (B,)."""
    values = quantiles.mean(-1)
    values = values.mean(0) if values.dim() == 2 else values
    return (values - targets.mean(-1)).abs().detach()
