"""Hybrid actions: log-probabilities, entropies and gradients of the joint distribution, beside numbers by hand."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from digideep.policy.acting import fast_act_of
from digideep.policy.distributions import (
    Categorical,
    DiagonalGaussian,
    IndependentBernoullis,
    IndependentCategoricals,
    JointDistribution,
    make_head,
)
from digideep.policy.stochastic import RecurrentPolicy, StochasticPolicy
from digideep.utility.errors import UsageError

SPACE = Dict(
    [("tap", Discrete(3)), ("pour", Box(-1, 1, (2,))), ("many", MultiDiscrete([2, 4])), ("on", MultiBinary(2))]
)
SEEN = Box(-np.inf, np.inf, (3,), np.float32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand():
    """A distribution whose numbers are simple: probabilities of 1/4, 1/2 and the like, spreads of 1 and 2."""
    return JointDistribution(
        [
            Categorical(torch.tensor([[0.5, 0.25, 0.25]]).log()),
            DiagonalGaussian(torch.tensor([[0.0, 1.0]]), torch.tensor([0.0, math.log(2)])),
            IndependentCategoricals(torch.tensor([[0.75, 0.25, 0.125, 0.125, 0.25, 0.5]]).log(), [2, 4]),
            IndependentBernoullis(torch.tensor([[0.8, 0.25]]).logit()),
        ],
        list(SPACE.spaces.values()),
    )


def test_log_probabilities_add_up_to_the_number_worked_out_by_hand():
    # Tap 1: 1/4. Pour 1 and 3: one spread from each mean. Many 0 and 3: 3/4 and 1/2. On 1 and 0: 0.8 and 3/4.
    actions = torch.tensor([[1.0, 1.0, 3.0, 0.0, 3.0, 1.0, 0.0]])
    gaussian = math.exp(-0.5) / math.sqrt(2 * math.pi)
    density = 0.25 * gaussian * (gaussian / 2) * 0.75 * 0.5 * 0.8 * 0.75
    assert by_hand().log_prob(actions).item() == pytest.approx(math.log(density), rel=1e-6)


def test_entropies_add_up_to_the_number_worked_out_by_hand():
    tap = 0.5 * math.log(2) + 0.5 * math.log(4)
    pour = 2 * 0.5 * math.log(2 * math.pi * math.e) + math.log(2)
    many = 0.75 * math.log(4 / 3) + 0.25 * math.log(4) + 0.25 * math.log(8) + 0.25 * math.log(4) + 0.5 * math.log(2)
    switch = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (0.8, 0.25)]
    assert by_hand().entropy().item() == pytest.approx(tap + pour + many + sum(switch), rel=1e-6)


def test_the_likeliest_action_joins_those_of_the_parts_and_samples_have_their_probabilities():
    assert by_hand().mode().tolist() == [[0, 0, 1, 0, 3, 1, 0]]
    assert by_hand().mode().dtype == torch.float32
    parts, spaces = by_hand().choices, list(SPACE.spaces.values())
    many = JointDistribution(
        [
            Categorical(parts[0].log_probs.expand(20_000, 3)),
            DiagonalGaussian(parts[1].mean.expand(20_000, 2), parts[1].log_std),
            IndependentCategoricals(
                torch.tensor([[0.75, 0.25, 0.125, 0.125, 0.25, 0.5]]).log().expand(20_000, 6), [2, 4]
            ),
            IndependentBernoullis(parts[3].logits.expand(20_000, 2)),
        ],
        spaces,
    )
    drawn = many.sample(generator())
    shares = torch.stack([(drawn[:, 0] == 1).float(), (drawn[:, 4] == 3).float(), drawn[:, 5]]).mean(1)
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.5, 0.8]), atol=0.015, rtol=0)
    assert drawn[:, 2].std().item() == pytest.approx(2, rel=0.03)
    assert torch.corrcoef(drawn.T).sub(torch.eye(7)).abs().max() < 0.03  # independent of each other


@pytest.mark.parametrize("policy_class", [StochasticPolicy, RecurrentPolicy])
def test_acting_and_evaluating_agree_on_the_joint_log_probability(policy_class):
    policy = policy_class(SEEN, SPACE, generator(), hidden_sizes=[8])
    state = torch.zeros(6, policy.state_size) if policy.state_size else None
    masks = torch.ones(6, 1, dtype=torch.bool) if policy.state_size else None
    observations = torch.randn(6, 3, generator=generator(1))
    choice = policy.act(observations, state=state, generator=generator(2))
    assert choice.actions.shape == (6, 7)
    assert choice.actions.dtype == torch.float32
    evaluation = policy(observations, choice.actions, state=state, masks=masks)
    torch.testing.assert_close(evaluation.log_p, choice.log_p)
    again = policy.act(observations, state=state, generator=generator(2))
    assert torch.equal(again.actions, choice.actions)
    assert torch.equal(policy.mode(observations, state=state).actions[:, :1] % 1, torch.zeros(6, 1))
    assert fast_act_of(policy) is None


def test_the_gradient_of_the_joint_log_probability_is_that_of_finite_differences():
    policy = StochasticPolicy(SEEN, SPACE, generator(), hidden_sizes=[5]).double()
    with torch.no_grad():
        for parameter in policy.head.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(3))
    observations = torch.randn(4, 3, generator=generator(1)).double()
    actions = policy.act(observations, generator=generator(2)).actions.detach().double()
    policy(observations, actions).log_p.sum().backward()
    checked = 0
    for name, parameter in policy.named_parameters():
        if name.startswith("critic"):
            assert parameter.grad is None
            continue
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for index in range(len(flat)):
            ends = []
            for step in (1e-6, -2e-6):
                flat[index] += step
                ends.append(policy(observations, actions).log_p.sum().item())
            flat[index] += 1e-6
            assert gradient[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7, rel=1e-5), name
            checked += 1
    assert checked == (3 * 5 + 5) + 5 * (3 + 2 + 6 + 2) + (3 + 2 + 6 + 2) + 2  # weights, biases, spreads
    assert not any(p.grad.eq(0).all() for n, p in policy.named_parameters() if not n.startswith("critic"))


def test_a_hybrid_policy_starts_near_indifference_in_each_part():
    head = make_head(SPACE, 16, generator(), -0.5)
    for part, size in zip(head.parts, (3, 2, 6, 2), strict=True):
        weight = part.linear.weight.detach()
        torch.testing.assert_close(weight @ weight.T, 1e-4 * torch.eye(size), atol=1e-8, rtol=0)
    assert head.parts[1].log_std.tolist() == [-0.5, -0.5]


def test_numbers_up_to_the_largest_that_float32_holds_are_chosen_exactly():
    size = 2**24
    space = [Discrete(size), Box(-1, 1, (1,))]
    logits = torch.zeros(1, size)
    logits[0, -1] = 100.0
    joint = JointDistribution([Categorical(logits), DiagonalGaussian(torch.zeros(1, 1), torch.zeros(1))], space)
    assert joint.mode()[0, 0].long().item() == size - 1
    assert joint.log_prob(joint.mode()).item() == pytest.approx(-0.5 * math.log(2 * math.pi))


def test_parts_of_an_unknown_kind_are_refused():
    with pytest.raises(UsageError, match="cannot choose from Text"):
        make_head(Dict({"a": Discrete(2), "b": gym.spaces.Text(2)}), 3, generator(), 0.0)
