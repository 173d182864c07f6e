"""SAC with a state-value network beside numbers worked out by hand."""

import pytest
import torch

from digideep.agent.sacv1 import SACv1, critic_targets, value_loss, value_targets
from tests.support.replay import make_agent, make_batch, take_step

STEPS = ("critic_step", "value_step", "actor_step")


def test_the_critics_target_asks_the_target_value_and_adds_no_entropy():
    batch = make_batch(SACv1, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    assert critic_targets(batch, lambda observations: torch.tensor([4.0, 5.0])).tolist() == [3.0, 2.0]


def test_the_value_is_the_smaller_critics_of_the_actors_own_action_and_its_entropy():
    targets = value_targets(
        torch.zeros(2, 3),
        lambda observations, noise: (noise, torch.tensor([-1.0, 3.0])),
        lambda observations, actions: torch.tensor([[4.0, 5.0], [6.0, 3.0]]),
        torch.zeros(2, 2),
        0.2,
    )
    assert targets.tolist() == pytest.approx([4 + 0.2, 3 - 0.6])


def test_the_value_loss_is_half_the_squared_error():
    loss, metrics = value_loss(
        lambda observations: torch.tensor([1.0, 4.0]), torch.zeros(2, 3), torch.tensor([3.0, 4.0])
    )
    assert (float(loss), float(metrics["value"])) == (1.0, 2.5)


def test_each_step_moves_its_own_network_and_the_target_follows_at_its_interval():
    agent = make_agent(SACv1, polyak_factor=1.0, target_update_interval=2)
    for number in (1, 2):
        before = {name: getattr(agent, name).flat.clone() for name in (*STEPS, "target_value")}
        metrics, errors = take_step(agent, make_batch(SACv1, seed=number))
        agent.n_updates += 1
        assert all(not torch.equal(getattr(agent, name).flat, before[name]) for name in STEPS)
        assert torch.equal(agent.target_value.flat, before["target_value"]) == (number == 1)
    assert torch.equal(agent.target_value.flat, agent.value_step.flat)
    assert set(metrics) == {"critic_loss", "q_value", "value_loss", "value", "actor_loss", "entropy"}
    assert errors.shape == (32,)


def test_the_values_follow_what_the_critics_say():
    agent = make_agent(SACv1, lr_critic=0.0, lr_actor=0.0, alpha=0.0, lr_value=3e-2)
    batch = make_batch(SACv1)
    losses = [float(take_step(agent, batch)[0]["value_loss"]) for _ in range(200)]
    assert losses[-1] < 0.2 * losses[0]
