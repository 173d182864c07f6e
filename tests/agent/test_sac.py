"""SAC beside numbers worked out by hand."""

import math

import pytest
import torch

from digideep.agent.sac import SAC, actor_loss, alpha_loss, critic_targets
from digideep.policy.continuous import SquashedGaussianActor
from digideep.policy.networks import Scalar, network_maker
from tests.support.replay import make_agent, make_batch, take_step


def make_actor(mean: float, log_std: float) -> SquashedGaussianActor:
    """One action dimension whose distribution is the same everywhere."""
    actor = SquashedGaussianActor([1, 4, 1], network_maker(None, activation="relu", generator=torch.Generator()))
    for parameter in actor.parameters():
        parameter.data.zero_()
    actor.layers[-1].bias.data[:] = torch.tensor([mean, log_std])
    return actor


@pytest.mark.parametrize(("mean", "log_std"), [(0, 0), (1.5, -1), (-2, 0.5), (0.3, 1.5), (4, -3)])
def test_the_log_probability_integrates_to_one_over_the_action_range(mean, log_std):
    noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    actor = make_actor(mean, log_std).double()
    with torch.no_grad():
        actions, log_p = actor(torch.zeros(len(noise), 1, dtype=torch.float64), noise)
    assert actions.abs().max() <= 1
    total = torch.trapezoid(log_p.exp(), actions[:, 0])
    assert float(total) == pytest.approx(1, abs=2e-3)


def test_the_log_probability_stays_finite_where_tanh_is_flat():
    actor = make_actor(30, 2)
    actions, log_p = actor(torch.zeros(3, 1), torch.tensor([[-3.0], [0.0], [3.0]]))
    assert torch.isfinite(log_p).all()
    assert (actions <= 1).all()
    (log_p.sum()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in actor.parameters())


def test_the_log_probability_is_that_of_torch_distributions():
    actor = make_actor(0.4, -0.7)
    actions, log_p = actor(torch.zeros(5, 1), torch.linspace(-2, 2, 5)[:, None])
    base = torch.distributions.Normal(0.4, math.exp(-0.7))
    theirs = torch.distributions.TransformedDistribution(base, torch.distributions.TanhTransform(cache_size=1))
    torch.testing.assert_close(log_p, theirs.log_prob(actions)[:, 0], atol=1e-5, rtol=1e-5)


def test_acting_draws_what_learning_would_say_of_the_same_noise():
    actor, noise = make_actor(0.4, -0.7), torch.randn(5, 1, generator=torch.Generator().manual_seed(3))
    drawn = actor.act(torch.zeros(5, 1), torch.Generator().manual_seed(3))
    assert torch.equal(drawn, actor(torch.zeros(5, 1), noise)[0])


def test_targets_take_the_smaller_target_critic_and_add_the_entropy():
    batch = make_batch(SAC, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    targets = critic_targets(
        batch,
        lambda observations, noise: (noise, torch.tensor([-1.0, 3.0])),
        lambda observations, actions: torch.tensor([[4.0, 5.0], [6.0, 3.0]]),
        torch.zeros(2, 2),
        torch.tensor(0.2),
    )
    assert targets.tolist() == pytest.approx([1 + 0.5 * (4 + 0.2), 2.0])


def test_the_actor_weighs_entropy_against_the_smaller_critic():
    loss, (metrics, entropy) = actor_loss(
        lambda observations, noise: (noise, torch.tensor([-1.0, 3.0])),
        make_batch(SAC, size=2),
        lambda observations, actions: torch.tensor([[4.0, 5.0], [6.0, 3.0]]),
        torch.zeros(2, 2),
        torch.tensor(0.2),
    )
    assert float(loss) == pytest.approx(((-0.2 - 4) + (0.6 - 3)) / 2)
    assert (metrics["actor_loss"], metrics["entropy"]) == (loss, entropy)
    assert float(entropy) == -1.0


def test_alpha_rises_while_the_entropy_is_below_its_target():
    log_alpha = Scalar(0.0)
    for entropy, sign in ((-3.0, -1), (1.0, 1)):
        loss, _ = alpha_loss(log_alpha, torch.tensor(entropy), -2.0)
        (gradient,) = torch.autograd.grad(loss, log_alpha.value)
        assert gradient.sign().item() == sign  # descent moves log(alpha) against it
        assert abs(gradient.item()) == abs(entropy + 2)


def test_the_entropy_coefficient_is_tuned_by_default_and_fixed_on_request():
    tuned, fixed = make_agent(SAC), make_agent(SAC, alpha=0.2, automatic_entropy_tuning=False)
    assert tuned.target_entropy == -2
    for agent in (tuned, fixed):
        for _ in range(3):
            metrics, _ = take_step(agent, make_batch(SAC))
    assert tuned.alpha_step.flat.item() != 0
    assert fixed.alpha_step.flat.exp().item() == pytest.approx(0.2)
    assert metrics["alpha"].item() == pytest.approx(0.2)


def test_targets_follow_by_the_polyak_factor_at_their_interval():
    agent = make_agent(SAC, polyak_factor=0.25, target_update_interval=2)
    before = agent.target_critics.flat.clone()
    take_step(agent, make_batch(SAC))
    agent.n_updates += 1
    assert torch.equal(agent.target_critics.flat, before)
    take_step(agent, make_batch(SAC))
    torch.testing.assert_close(agent.target_critics.flat, before + 0.25 * (agent.critic_step.flat - before))
    parameter = next(agent.target_critics.network.module.parameters())
    torch.testing.assert_close(parameter.reshape(-1), agent.target_critics.flat[: parameter.numel()])


def test_the_actors_step_leaves_the_critics_alone():
    agent = make_agent(SAC, lr_critic=0.0)
    critics, actor = agent.critic_step.flat.clone(), agent.actor_step.flat.clone()
    take_step(agent, make_batch(SAC))
    assert torch.equal(agent.critic_step.flat, critics)
    assert not torch.equal(agent.actor_step.flat, actor)
