"""TQC and QR-DQN beside numbers worked out by hand."""

import pytest
import torch

from digideep.agent import qr_dqn, tqc
from digideep.agent.dqn import DQN
from digideep.agent.qr_dqn import QRDQN
from digideep.agent.quantiles import mean_error, quantile_huber_loss
from digideep.agent.tqc import TQC
from digideep.parameters.component import describe
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.utility.errors import UsageError
from tests.support.replay import make_agent, make_batch, take_step

ALPHA = torch.tensor(0.2)


def test_the_quantile_loss_sums_over_quantiles_and_averages_over_targets():
    # Levels 0.25 and 0.75. Errors of the first: 1 and twice 4, of the second: -1 and twice 2.
    first = 0.25 * (0.5 + 3.5 + 3.5) / 3
    second = (0.25 * 0.5 + 0.75 * (1.5 + 1.5)) / 3
    loss = quantile_huber_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 4.0, 4.0]]))
    assert loss.tolist() == pytest.approx([first + second])


def test_quantiles_settle_where_the_distribution_has_them():
    targets = torch.arange(1000.0)[None] / 10  # uniform over [0, 100)
    quantiles = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([quantiles], lr=1.0)
    for _ in range(600):
        optimizer.zero_grad()
        quantile_huber_loss(quantiles, targets).sum().backward()
        optimizer.step()
    torch.testing.assert_close(quantiles[0].detach(), torch.tensor([12.5, 37.5, 62.5, 87.5]), atol=1.0, rtol=0)


def test_a_priority_is_how_far_the_means_lie_apart():
    quantiles = torch.tensor([[[0.0, 2.0]], [[2.0, 4.0]]])  # of two critics, of which the mean is 2
    assert mean_error(quantiles, torch.tensor([[5.0, 7.0]])).tolist() == [4.0]
    assert mean_error(quantiles[0], torch.tensor([[5.0, 7.0]])).tolist() == [5.0]


def test_the_pool_of_all_critics_loses_its_largest_quantiles_and_a_termination_everything():
    batch = make_batch(TQC, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    critics = torch.tensor([[[1.0, 9.0, 3.0], [1.0, 1.0, 1.0]], [[2.0, 8.0, 7.0], [1.0, 1.0, 1.0]]])
    targets = tqc.critic_targets(
        batch,
        lambda observations, noise: (noise, torch.tensor([-1.0, 3.0])),
        lambda observations, actions: critics,
        torch.zeros(2, 2),
        ALPHA,
        2,
    )
    torch.testing.assert_close(targets[0], 1 + 0.5 * (torch.tensor([1.0, 2.0, 3.0, 7.0]) + 0.2))
    assert targets[1].tolist() == [2.0] * 4


def test_the_actor_follows_the_mean_of_all_quantiles():
    loss, (_, entropy) = tqc.actor_loss(
        lambda observations, noise: (noise, torch.tensor([-1.0, 3.0])),
        make_batch(TQC, size=2),
        lambda observations, actions: torch.tensor([[[1.0, 9.0], [0.0, 2.0]], [[2.0, 8.0], [2.0, 4.0]]]),
        torch.zeros(2, 2),
        ALPHA,
    )
    assert float(loss) == pytest.approx(((-0.2 - 5) + (0.6 - 2)) / 2)
    assert float(entropy) == -1.0


def test_the_next_action_is_the_best_by_its_mean_and_all_of_its_quantiles_are_targets():
    batch = make_batch(QRDQN, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    quantiles = torch.tensor([[[0.0, 9.0], [5.0, 6.0], [0.0, 0.0]]] * 2)  # the second action is best by its mean
    others = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [3.0, 3.0]]] * 2)
    targets = qr_dqn.critic_targets(batch, lambda seen: others, lambda seen: quantiles, False)
    assert targets.tolist() == [[3.5, 4.0], [2.0, 2.0]]
    targets = qr_dqn.critic_targets(batch, lambda seen: others, lambda seen: quantiles, True)
    assert targets.tolist() == [[1.0, 1.0], [2.0, 2.0]]
    masked = batch._replace(next_allowed=torch.tensor([[True, False, True]] * 2))
    assert qr_dqn.critic_targets(masked, lambda seen: others, lambda seen: quantiles, False)[0].tolist() == [1.0, 5.5]


def test_the_loss_is_of_the_actions_that_were_taken():
    batch = make_batch(QRDQN, size=2)._replace(actions=torch.tensor([2, 0]))
    values = torch.zeros(2, 3, 2)
    values[0, 2], values[1, 0] = torch.tensor([0.0, 2.0]), torch.tensor([5.0, 5.0])
    loss, (metrics, errors) = qr_dqn.critic_loss(lambda seen: values, batch, torch.tensor([[1.0, 4.0], [5.0, 5.0]]))
    assert float(loss) == pytest.approx(1.125 / 2)
    assert float(metrics["q_value"]) == 3.0
    assert errors.tolist() == [1.5, 0.0]


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (TQC, {"policy": describe(SquashedGaussianPolicy, hidden_sizes=[8])}, "critic_outputs must be at least 2"),
        (TQC, {"dropped_quantiles": 4}, "dropped_quantiles must be"),
        (TQC, {"num_target_critics": 1}, "num_target_critics must be null"),
        (QRDQN, {"policy": describe(ActionValues, hidden_sizes=[8])}, "critic_outputs must be at least 2"),
        (QRDQN, {"policy": describe(ActionValues, hidden_sizes=[8], num_critics=2)}, "num_critics must be 1 for QRDQN"),
        (DQN, {"policy": describe(ActionValues, hidden_sizes=[8], num_critics=2)}, "num_critics must be 1 for DQN"),
        (
            DQN,
            {"policy": describe(ActionValues, hidden_sizes=[8], critic_outputs=2)},
            "critic_outputs must be 1 for DQN",
        ),
    ],
)
def test_what_leaves_no_quantiles_is_refused(cls, changes, message):
    with pytest.raises(UsageError, match=message):
        make_agent(cls, **changes)


@pytest.mark.parametrize("cls", [TQC, QRDQN])
def test_quantiles_follow_their_targets(cls):
    agent = make_agent(cls, gamma=0.0) if cls is QRDQN else make_agent(cls, gamma=0.0, lr_actor=0.0)
    batch = make_batch(cls)._replace(discounts=torch.zeros(32))
    losses = [float(take_step(agent, batch)[0]["critic_loss"]) for _ in range(300)]
    assert losses[-1] < 0.3 * losses[0]
