"""CrossQ beside numbers worked out by hand."""

import pytest
import torch

from digideep.agent.crossq import CrossQ, critic_loss
from digideep.utility.errors import UsageError
from tests.support.replay import make_agent, make_batch, take_step


def test_one_pass_judges_both_halves_and_the_second_one_takes_no_gradient():
    batch = make_batch(CrossQ, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    values = torch.tensor([[4.0, 5.0, 6.0, 7.0], [3.0, 5.0, 8.0, 1.0]], requires_grad=True)
    asked = []

    def critics(observations, actions):
        asked.append((observations, actions))
        return values

    next_actions = torch.full((2, 2), 0.5)
    loss, (_, errors) = critic_loss(critics, batch, next_actions, torch.tensor([-1.0, 3.0]), torch.tensor(0.2))
    ((observations, actions),) = asked
    assert torch.equal(observations, torch.cat([batch.observations, batch.next_observations]))
    assert torch.equal(actions, torch.cat([batch.actions, next_actions]))
    targets = [1 + 0.5 * (6 + 0.2), 2.0]  # the smaller critic's, and the entropy's worth; nothing at a termination
    by_hand = ((4 - targets[0]) ** 2 + (5 - 2) ** 2 + (3 - targets[0]) ** 2 + (5 - 2) ** 2) / 4
    assert loss.item() == pytest.approx(by_hand)
    assert errors.tolist() == pytest.approx([(abs(4 - targets[0]) + abs(3 - targets[0])) / 2, 3.0])
    (gradient,) = torch.autograd.grad(loss, values)
    assert not gradient[:, 2:].any()
    assert gradient[:, :2].all()


def test_the_moments_are_those_of_both_halves_of_the_batch():
    agent, batch = make_agent(CrossQ), make_batch(CrossQ)
    norm = agent.policy.critics.layers[0]
    with torch.no_grad():
        agent.generator.manual_seed(3)
        noise = agent.draw_noise(batch.actions.shape)
        actions, _ = agent.actor_step.frozen(batch.next_observations, noise)
    agent.generator.manual_seed(3)
    take_step(agent, batch)
    now, then = (
        torch.cat(pair, -1) for pair in ((batch.observations, batch.actions), (batch.next_observations, actions))
    )
    expected = norm.momentum * torch.cat([now, then]).mean(0)
    torch.testing.assert_close(norm.mean[0, 0], expected)


def test_the_actor_steps_after_its_delay_and_leaves_the_critics_moments_alone():
    agent = make_agent(CrossQ, policy_delay=2)
    for number, is_due in ((0, False), (1, True)):
        before = agent.actor_step.flat.clone()
        take_step(agent, make_batch(CrossQ, seed=number))
        agent.n_updates += 1
        assert torch.equal(agent.actor_step.flat, before) != is_due
    assert agent.policy.critics.layers[0].batches == 2  # one for each step of the critics


def test_it_has_no_targets():
    agent = make_agent(CrossQ)
    assert not any("target" in name for name in agent.parts)
    for name, value in (("polyak_factor", 0.05), ("num_target_critics", 1)):
        with pytest.raises(UsageError, match=f"{name} must be null"):
            make_agent(CrossQ, **{name: value})
    with pytest.raises(UsageError, match="target_update_interval must be 1"):
        make_agent(CrossQ, target_update_interval=7)
