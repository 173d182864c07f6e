"""Updates of PPO beside the same algorithm written out in plain torch, without a neutral parameter."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.utility.seeding import generator_state
from tests.agent.test_advantages import brute_force
from tests.agent.test_ppo import trained_on

WORKERS, STEPS, EPOCHS, LIMIT = 3, 12, 3, 1.0
METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")
RATE, CLIP = describe(Linear, start=0.05, duration=4), describe(Linear, start=0.3, end=0.1, duration=2)
PARAMETERS = {
    "n_update": EPOCHS, "num_mini_batches": 2, "lr": RATE, "clip_param": CLIP, "value_loss_coef": 0.7,
    "entropy_coef": 0.3, "max_grad_norm": LIMIT, "use_clipped_value_loss": True,
    "optimizer": describe(Adam, beta1=0.8, eps=0.05),
}  # fmt: skip


def learner(**changes):
    return trained_on(
        "Counter-v0", n_steps=STEPS, num_workers=WORKERS, env_kwargs={"length": 5}, **PARAMETERS | changes
    )


def losses_of(policy, batch, clip):
    """Schulman et al. 2017, Eq. 7 and 9. Args: batch: observations, actions, log_p, values, advantages, returns."""
    observations, actions, log_p, old_values, advantages, returns = batch
    distribution = torch.distributions.Categorical(logits=policy.head.linear(policy.actor(observations)))
    log_ratio = distribution.log_prob(actions) - log_p
    ratio, values = log_ratio.exp(), policy.critic(observations)[:, 0]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    gains = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    near = old_values + (values - old_values).clamp(-clip, clip)
    value_loss = torch.maximum((values - returns) ** 2, (near - returns) ** 2).mean() / 2
    metrics = [-gains.mean(), value_loss, distribution.entropy().mean(), (ratio - 1 - log_ratio).mean(),
               ((ratio - 1).abs() > clip).float().mean()]  # fmt: skip
    return metrics[0] + 0.7 * value_loss - 0.3 * metrics[2], [metric.item() for metric in metrics]


def updated_by_hand(policy, optimizer, generator, chunk, rate, clip, recomputes):
    """One update. Returns: its metrics, and the norms of its gradients."""
    masks = chunk["/masks"][..., 0]
    observations, actions, log_p = (
        torch.tensor(chunk[key]).flatten(0, 1)
        for key in ("/observations/agent", "/agents/agent/actions", "/agents/agent/artifacts/action_log_p")
    )
    starts = np.flatnonzero(np.pad(masks[:, :-1], ((0, 0), (0, 1))))
    optimizer.param_groups[0]["lr"] = rate
    figures, norms, before = [], [], policy.critic(observations).detach()[:, 0]
    for epoch in range(EPOCHS):
        if epoch == 0 or recomputes:
            values = policy.critic(observations).detach()[:, 0].view(WORKERS, STEPS + 1).numpy()
            rewards, terminations = (chunk[key][:, :-1, 0] for key in ("/rewards", "/terminations"))
            advantages = brute_force(rewards, values, terminations, masks, 0.9, 0.95)
            advantages = np.pad(advantages, ((0, 0), (0, 1))).astype(np.float32)
            returns = torch.tensor(advantages + values).flatten()
            if epoch == 0:
                explained = 1 - (returns - before)[starts].var() / returns[starts].var()
        order = generator.permutation(starts)
        size = WORKERS * STEPS // 2
        for rows in np.resize(order, (-(-len(order) // size), size)):
            columns = (observations, actions, log_p, before, torch.tensor(advantages).flatten(), returns)
            loss, metrics = losses_of(policy, [column[rows] for column in columns], clip)
            optimizer.zero_grad()
            loss.backward()
            norms.append(float(clip_grad_norm_(policy.parameters(), LIMIT)))
            optimizer.step()
            figures.append(metrics)
    means = dict(zip(METRICS, np.mean(figures, 0), strict=True))
    return {**means, "explained_variance": float(explained), "lr": rate, "epochs": EPOCHS}, norms


@pytest.mark.parametrize("recomputes", [True, False])
def test_updates_are_those_of_the_algorithm_written_out(recomputes):
    agent, explorer, memory = learner(recompute_advantages=recomputes)
    policy, generator = copy.deepcopy(agent.policy).requires_grad_(True), np.random.default_rng()
    optimizer = torch.optim.Adam(policy.parameters(), betas=(0.8, 0.999), eps=0.05)
    generator.bit_generator.state = generator_state(agent.numpy_generator)
    norms = []
    for rate, clip in ((0.05, 0.3), (0.0375, 0.2), (0.025, 0.1)):
        memory.store(explorer.update())
        metrics = agent.update()
        expected, some = updated_by_hand(policy, optimizer, generator, memory.last_chunk(), rate, clip, recomputes)
        assert metrics == pytest.approx({**expected, "clip_param": clip}, rel=1e-3, abs=1e-5)
        plain = parameters_to_vector(policy.parameters()).detach()
        torch.testing.assert_close(agent.step.flat, plain, atol=1e-5, rtol=1e-3)
        norms += some
    assert min(norms) < LIMIT < max(norms), "some gradients are clipped, some are not"
    assert 0 < metrics["clip_fraction"] < 1


def test_an_update_stops_after_the_epoch_whose_mean_divergence_is_more_than_half_above_its_target():
    def divergences(**changes):
        """Of each minibatch of a first update."""
        agent, explorer, memory = learner(lr=0.02, n_update=6, **changes)
        memory.store(explorer.update())
        step, noted = agent._step, []
        agent._step = lambda *args: noted.append(step(*args)) or noted[-1]
        epochs = agent.update()["epochs"]
        return epochs, [float(divergence) for _, divergence in noted]

    epochs, noted = divergences()
    means = np.reshape(noted, (6, -1)).mean(1)
    assert epochs == 6
    stops = set()
    for target in (*(means[1:4] / 1.5 * 0.99), *(means[1:4] / 1.5 * 1.01), means[2]):
        above = np.flatnonzero(means > 1.5 * target)
        expected = above[0] + 1 if len(above) else 6
        assert divergences(target_kl=float(target))[0] == expected
        stops.add(int(expected))
    assert len(stops) > 2


def test_the_optimizer_is_that_of_the_published_results_unless_another_is_asked_for():
    agent, *_ = learner(optimizer=None)
    assert (agent.step.optimizer.beta1, agent.step.optimizer.beta2, agent.step.optimizer.eps) == (0.9, 0.999, 1e-5)
