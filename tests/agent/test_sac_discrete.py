"""SAC over numbered actions beside numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from digideep.agent.sac_discrete import DiscreteSAC, actor_loss, critic_loss, critic_targets
from tests.support.replay import CHOICE, LINE, make_agent, make_batch

LOG_P = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 1e-9]]).log()
ALPHA = torch.tensor(0.2)
ENTROPY = [0.5 * math.log(2) + 0.5 * math.log(4), math.log(2)]


def test_targets_expect_the_smaller_critic_and_the_entropy_and_nothing_at_a_termination():
    batch = make_batch(DiscreteSAC, size=2)
    batch = batch._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    critics = torch.tensor([[[4.0, 8.0, 0.0], [1.0, 1.0, 1.0]], [[6.0, 4.0, 4.0], [1.0, 1.0, 1.0]]])
    targets = critic_targets(batch, lambda *args: LOG_P, lambda *args: critics, torch.zeros(2), ALPHA)
    assert targets.tolist() == pytest.approx([1 + 0.5 * (2 + 1 + 0 + 0.2 * ENTROPY[0]), 2.0])


def test_each_critic_learns_of_the_action_that_was_taken():
    batch = make_batch(DiscreteSAC, size=2)._replace(actions=torch.tensor([2, 0]))
    critics = torch.tensor([[[0.0, 0.0, 4.0], [1.0, 0.0, 0.0]], [[0.0, 0.0, 6.0], [3.0, 0.0, 0.0]]])
    loss, (_, errors) = critic_loss(lambda seen: critics, batch, torch.tensor([5.0, 3.0]))
    assert float(loss) == pytest.approx(0.5 * ((1 + 4) / 2 + (1 + 0) / 2))
    assert errors.tolist() == [1.0, 1.0]


def test_the_actor_weighs_entropy_against_the_smaller_critic():
    critics = torch.tensor([[[4.0, 8.0, 0.0], [2.0, 4.0, 0.0]], [[6.0, 4.0, 4.0], [2.0, 4.0, 0.0]]])
    batch = make_batch(DiscreteSAC, size=2)
    loss, (_, entropy) = actor_loss(lambda *args: LOG_P, batch, lambda *args: critics, torch.zeros(2), ALPHA)
    assert float(loss) == pytest.approx(-((3 + 0.2 * ENTROPY[0]) + (3 + 0.2 * ENTROPY[1])) / 2)
    assert float(entropy) == pytest.approx(sum(ENTROPY) / 2)


def test_the_target_entropy_is_a_share_of_the_largest():
    assert make_agent(DiscreteSAC).target_entropy == pytest.approx(0.98 * math.log(3))
    assert make_agent(DiscreteSAC, target_entropy_ratio=0.5).target_entropy == pytest.approx(0.5 * math.log(3))
    assert make_agent(DiscreteSAC, target_entropy=-1.0).target_entropy == -1.0


def test_samples_have_the_probabilities_of_the_actor():
    agent = make_agent(DiscreteSAC)
    observation = torch.ones(20_000, 3)
    expected = agent.policy.actor(observation[:1])[0].exp()
    for actions in (
        agent.policy.act(observation, generator=agent.generator).actions.numpy(),
        agent.action_generator({"/agent": observation.numpy()}, None, np.ones(20_000, bool), False)["actions"],
    ):
        found = np.bincount(actions, minlength=3) / 20_000
        np.testing.assert_allclose(found, expected.detach(), atol=0.02)


def test_actions_that_are_not_allowed_are_never_chosen_nor_expected():
    agent = make_agent(DiscreteSAC, LINE, CHOICE, infos={"/action_mask": np.zeros(3)}, use_action_mask=True)
    allowed = torch.tensor([[True, False, True]]).expand(500, 3)
    observations = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    assert set(agent.policy.act(observations, allowed=allowed, generator=agent.generator).actions.tolist()) <= {0, 2}
    batch = make_batch(DiscreteSAC)._replace(next_allowed=allowed[:32], allowed=allowed[:32])
    loss, errors = agent.gradient_step(batch, *agent.step_arguments(batch))
    assert all(map(math.isfinite, loss.values.tolist()))
    assert errors.isfinite().all()
    log_p = agent.policy.actor(observations, allowed)
    assert log_p.exp()[:, 1].max() == 0
