"""The distributions, number by number beside torch.distributions."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from digideep.policy.distributions import (
    Categorical,
    DiagonalGaussian,
    IndependentBernoullis,
    IndependentCategoricals,
    forbid,
    make_head,
)
from digideep.policy.networks import multilayer_perceptron
from digideep.policy.stochastic import RecurrentPolicy, StochasticPolicy
from digideep.utility.errors import UsageError

BOX, ACTIONS = gym.spaces.Box(-1, 1, (3,)), gym.spaces.Box(-1, 1, (2,))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_categorical_agrees_with_torch():
    logits = torch.randn(5, 4, generator=generator())
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    actions = torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert ours.mode().tolist() == theirs.probs.argmax(-1).tolist()


def test_categorical_samples_have_their_probabilities():
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    samples = Categorical(probabilities.log().expand(20_000, 3)).sample(generator())
    frequencies = torch.bincount(samples, minlength=3) / 20_000
    torch.testing.assert_close(frequencies, probabilities, atol=0.015, rtol=0)


def test_independent_choices_agree_with_torch():
    logits, sizes = torch.randn(5, 7, generator=generator()), [2, 4, 1]
    ours = IndependentCategoricals(logits, sizes)
    theirs = [torch.distributions.Categorical(logits=part) for part in logits.split(sizes, -1)]
    actions = torch.tensor([[0, 3, 0], [1, 2, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    expected = sum(part.log_prob(actions[:, i]) for i, part in enumerate(theirs))
    torch.testing.assert_close(ours.log_prob(actions), expected)
    torch.testing.assert_close(ours.entropy(), sum(part.entropy() for part in theirs))
    assert ours.mode().tolist() == torch.stack([part.probs.argmax(-1) for part in theirs], -1).tolist()
    assert ours.sample(generator()).shape == (5, 3)


def test_independent_switches_agree_with_torch():
    logits = torch.randn(5, 3, generator=generator())
    ours, theirs = IndependentBernoullis(logits), torch.distributions.Bernoulli(logits=logits)
    actions = (torch.rand(5, 3, generator=generator(1)) < 0.5).long()
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions.float()).sum(-1))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(-1))
    assert ours.mode().tolist() == (logits > 0).long().tolist()
    samples = IndependentBernoullis(torch.tensor([[0.2, 0.9]]).logit().expand(20_000, 2)).sample(generator())
    torch.testing.assert_close(samples.float().mean(0), torch.tensor([0.2, 0.9]), atol=0.015, rtol=0)


def test_what_is_forbidden_has_no_probability_no_entropy_and_no_gradient():
    logits = torch.randn(1, 4, generator=generator()).requires_grad_()
    allowed = torch.tensor([[True, False, True, False]])
    ours, theirs = Categorical(forbid(logits, allowed)), torch.distributions.Categorical(logits=logits[:, [0, 2]])
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.log_prob(torch.tensor([2])), theirs.log_prob(torch.tensor([1])))
    (ours.entropy() + ours.log_prob(torch.tensor([2]))).sum().backward()
    assert logits.grad[0, [1, 3]].tolist() == [0, 0]
    assert logits.grad[0, [0, 2]].abs().min() > 0
    many = Categorical(forbid(torch.zeros(1000, 4), allowed.expand(1000, 4)))
    assert set(many.sample(generator()).tolist()) == {0, 2}
    alone = Categorical(forbid(torch.zeros(1, 4), torch.tensor([[False, True, False, False]])))
    assert alone.entropy().item() == 0


@pytest.mark.parametrize("shape", [(2,), (5, 2)])
def test_gaussian_agrees_with_torch(shape):
    mean, log_std = torch.randn(5, 2, generator=generator()), torch.randn(shape, generator=generator(1))
    ours, theirs = DiagonalGaussian(mean, log_std), torch.distributions.Normal(mean, log_std.exp().expand(5, 2))
    actions = torch.randn(5, 2, generator=generator(2))
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions).sum(-1))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(-1))
    assert ours.mode() is mean


def test_gaussian_samples_have_their_mean_and_spread():
    samples = DiagonalGaussian(torch.full((20_000, 1), 3.0), torch.tensor([0.5])).sample(generator())
    assert samples.mean() == pytest.approx(3, abs=0.05)
    assert samples.std() == pytest.approx(np.exp(0.5), rel=0.02)


def test_samples_come_from_the_generator_that_is_handed_over():
    distribution = DiagonalGaussian(torch.zeros(3, 2), torch.zeros(2))
    first, second = distribution.sample(generator(4)), distribution.sample(generator(4))
    torch.manual_seed(9)
    assert torch.equal(first, second)
    assert not torch.equal(first, distribution.sample(generator(5)))


def test_weights_are_orthogonal_and_the_policy_starts_near_indifference():
    policy = StochasticPolicy(BOX, gym.spaces.Discrete(4), generator(), hidden_sizes=[16, 16])
    square = policy.actor[2].weight.detach()
    torch.testing.assert_close(square @ square.T, 2 * torch.eye(16), atol=1e-5, rtol=0)
    head = policy.head.linear.weight.detach()
    torch.testing.assert_close(head @ head.T, 1e-4 * torch.eye(4), atol=1e-8, rtol=0)
    probabilities = policy.head(policy.actor(torch.randn(9, 3, generator=generator()))).log_probs.exp()
    torch.testing.assert_close(probabilities, torch.full((9, 4), 0.25), atol=0.02, rtol=0)


@pytest.mark.parametrize("space", [gym.spaces.Discrete(4), gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(4),
                                   gym.spaces.Box(-1, 1, (4,))], ids=lambda space: type(space).__name__)  # fmt: skip
def test_every_policy_starts_near_indifference_with_the_spread_that_is_asked_for(space):
    plain = StochasticPolicy(BOX, space, generator(), hidden_sizes=[16], log_std_init=-0.5)
    recurrent = RecurrentPolicy(BOX, space, generator(), core_size=16, hidden_sizes=[8], log_std_init=-0.5)
    for policy, value in ((plain, plain.critic[-1]), (recurrent, recurrent.value_head)):
        weight = policy.head.linear.weight.detach()
        torch.testing.assert_close(weight @ weight.T, 1e-4 * torch.eye(len(weight)), atol=1e-8, rtol=0)
        assert value.weight.norm().item() == pytest.approx(1)
        assert not policy.head.linear.bias.any()
        if isinstance(space, gym.spaces.Box):
            assert policy.head.log_std.tolist() == [-0.5] * 4


def test_the_same_generator_gives_the_same_weights_whatever_the_global_one_does():
    policies = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        policies.append(StochasticPolicy(BOX, ACTIONS, generator(), hidden_sizes=[8], log_std_init=-0.5))
    for ours, theirs in zip(policies[0].parameters(), policies[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert sum(each.numel() for each in policies[0].parameters()) == (3 * 8 + 8 + 8 * 2 + 2 + 2) + (3 * 8 + 8 + 8 + 1)


def test_acting_and_evaluating_agree_on_the_log_probability():
    for space in (ACTIONS, gym.spaces.Discrete(4)):
        policy = StochasticPolicy(BOX, space, generator(), hidden_sizes=[8])
        observations = torch.randn(6, 3, generator=generator(1))
        actions, log_p, *_ = policy.act(observations, generator=generator(2))
        evaluated, entropy, values = policy(observations, actions)
        torch.testing.assert_close(log_p, evaluated)
        torch.testing.assert_close(values, policy.value(observations))
        assert entropy.shape == (6,)
        best = [policy.act(observations, generator=generator(seed), deterministic=True).actions for seed in (3, 4)]
        assert torch.equal(*best)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_head(gym.spaces.Text(2), 3, generator(), 0.0), "cannot choose from Text"),
        (lambda: multilayer_perceptron(3, [], "tanh", generator()), r"hidden_sizes must be .* got \[\]"),
        (lambda: multilayer_perceptron(3, [4, 0], "tanh", generator()), "hidden_sizes must be"),
        (lambda: multilayer_perceptron(3, [4], "tan", generator()), "activation must be one of tanh, relu"),
        (lambda: StochasticPolicy(gym.spaces.Box(0, 1, (2, 2)), ACTIONS, generator(), hidden_sizes=[4]), "one-dim"),
    ],
)  # fmt: skip
def test_what_a_policy_cannot_do_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
