"""Truncated Quantile Critics on Pendulum. Source: Kuznetsov et al. 2020, arXiv:2005.04269, Eq. 8 to 13."""

import torch

from digideep.agent.sac import SAC
from params import sac_classic

cpanel = sac_classic.cpanel


def quantile_loss(critics, batch, targets):
    """Huber's quantile loss. Args: targets: (B, M). Returns: loss, metrics and absolute errors (B,)."""
    quantiles = critics(batch.observations, batch.actions)  # (num, B, K)
    size = quantiles.shape[-1]
    levels = (torch.arange(size, device=targets.device) + 0.5) / size
    errors = targets[:, None] - quantiles[..., None]  # (num, B, K, M)
    huber = torch.where(errors.abs() > 1, errors.abs() - 0.5, 0.5 * errors.square())
    losses = ((levels[:, None] - (errors < 0).float()).abs() * huber).mean((0, 2, 3))  # (B,)
    loss = (batch.weights * losses).mean()
    by_transition = errors.abs().mean((0, 2, 3)).detach()
    return loss, ({"critic_loss": loss, "q_value": quantiles.mean()}, by_transition)


def actor_loss(actor, batch, critics, noise, alpha):
    """As SAC's, by the mean of all quantiles."""
    actions, log_p = actor(batch.observations, noise)
    loss = (alpha * log_p - critics(batch.observations, actions).mean((0, 2))).mean()
    entropy = -log_p.mean().detach()
    return loss, ({"actor_loss": loss, "entropy": entropy}, entropy)


class TQC(SAC):
    """SAC with quantile critics, of whose pooled quantiles the targets leave out the largest."""

    critic_loss, actor_loss = staticmethod(quantile_loss), staticmethod(actor_loss)

    def __init__(self, context, *, dropped: int = 2, **parameters):
        super().__init__(context, **parameters)
        self.dropped = dropped  # quantiles of each critic

    def critic_targets(self, batch, actor, target_critics, noise, alpha):
        """Return reward and discounted soft values, (B, M)."""
        actions, log_p = actor(batch.next_observations, noise)
        quantiles = target_critics(batch.next_observations, actions)
        pooled = quantiles.movedim(1, 0).flatten(1).sort().values[:, : -self.dropped * len(quantiles)]
        return batch.rewards[:, None] + batch.discounts[:, None] * (pooled - alpha * log_p[:, None])


def gen_params(cpanel):
    tree = sac_classic.gen_params(cpanel)
    agent = tree["agents"]["agent"]
    policy = agent["policy"] | {"num_critics": 3, "critic_outputs": 8}
    return tree | {"agents": {"agent": agent | {"class": TQC, "policy": policy}}}
