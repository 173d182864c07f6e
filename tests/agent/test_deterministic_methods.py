"""DDPG, TD3 and DQN beside numbers worked out by hand."""

import pytest
import torch

from digideep.agent import ddpg, dqn, td3
from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.td3 import TD3
from digideep.policy.discrete import ActionValues
from digideep.utility.errors import UsageError
from tests.support.replay import CHOICE, LINE, make_agent, make_batch, take_step


def test_td3_smooths_the_target_action_within_the_range():
    batch = make_batch(TD3, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    asked = []

    def critics(observations, actions):
        asked.append(actions)
        return torch.tensor([[4.0, 5.0], [6.0, 3.0]])

    noise = torch.tensor([[0.5, -0.5], [0.1, 0.1]])
    targets = td3.critic_targets(batch, lambda observations: torch.full((2, 2), 0.8), critics, noise)
    torch.testing.assert_close(asked[0], torch.tensor([[1.0, 0.3], [0.9, 0.9]]))
    assert targets.tolist() == [1 + 0.5 * 4, 2.0]


def test_td3_clips_the_noise_before_it_is_added():
    agent = make_agent(TD3, target_noise_std=100.0, target_noise_clip=0.25)
    other = make_agent(TD3, target_noise_std=0.25, target_noise_clip=0.25)
    noise = torch.full((32, 2), 1.0)
    for each in (agent, other):
        each.gradient_step(make_batch(TD3), noise, False, False)
    assert torch.equal(agent.critic_step.flat, other.critic_step.flat)


def test_td3_moves_actor_and_targets_with_every_second_step_only():
    agent = make_agent(TD3)
    names = ("critic_step", "actor_step", "target_critics", "target_actor")
    moved = []
    for seed in range(4):
        before = [getattr(agent, name).flat.clone() for name in names]
        take_step(agent, make_batch(TD3, seed=seed))
        agent.n_updates += 1
        moved.append([not torch.equal(getattr(agent, n).flat, b) for n, b in zip(names, before, strict=True)])
    assert moved == [[True, False, False, False], [True] * 4] * 2


@pytest.mark.parametrize(("cls", "actor"), [(DDPG, [True] * 6), (TD3, [False, True] * 3)])
def test_targets_are_copied_at_an_interval_of_their_own(cls, actor):
    agent = make_agent(cls, target_update_interval=3, polyak_factor=1.0)
    moved = []
    for seed in range(6):
        before = [getattr(agent, name).flat.clone() for name in ("actor_step", "target_actor", "target_critics")]
        take_step(agent, make_batch(cls, seed=seed))
        agent.n_updates += 1
        after = [getattr(agent, name).flat for name in ("actor_step", "target_actor", "target_critics")]
        moved.append([not torch.equal(*pair) for pair in zip(before, after, strict=True)])
    assert [each[0] for each in moved] == actor
    assert [each[1:] for each in moved] == [[False, False], [False, False], [True, True]] * 2
    assert torch.equal(agent.target_actor.flat, agent.actor_step.flat)
    assert torch.equal(agent.target_critics.flat, agent.critic_step.flat)


def test_an_interval_of_no_steps_is_refused():
    with pytest.raises(UsageError, match="target_update_interval must be an integer of at least 1, got 0"):
        make_agent(DDPG, target_update_interval=0)


def test_td3s_actor_listens_to_the_first_critic():
    agent = make_agent(TD3)
    observations = make_batch(TD3).observations
    loss, _ = ddpg.actor_loss(agent.policy.actor, observations, agent.policy.critics)
    expected = -agent.policy.critics(observations, agent.policy.actor(observations))[0].mean()
    torch.testing.assert_close(loss, expected)


def test_ddpgs_actor_gradient_does_not_grow_with_the_batch():
    agent, observations = make_agent(DDPG), make_batch(DDPG).observations
    gradients = []
    for batch in (observations, observations.repeat(4, 1)):
        actor = agent.actor_step.learner
        loss, _ = ddpg.actor_loss(actor, batch, agent.policy.critics)
        gradients.append(torch.autograd.grad(loss, actor.layers[0].weight)[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("is_double", "expected"), [(True, [1 + 0.5 * 20, 2.0]), (False, [1 + 0.5 * 30, 2.0])])
def test_a_double_q_target_lets_the_online_network_choose(is_double, expected):
    batch = make_batch(DQN, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))
    online = lambda observations: torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 1.0]])  # noqa: E731
    target = lambda observations: torch.tensor([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])  # noqa: E731
    assert dqn.critic_targets(batch, online, target, is_double).tolist() == expected


def test_dqn_copies_its_target_at_its_interval_and_never_between():
    agent = make_agent(DQN, target_update_interval=3)
    before = agent.target_critic.flat.clone()
    for number in range(1, 7):
        take_step(agent, make_batch(DQN, seed=number))
        agent.n_updates += 1
        if number % 3 == 0:
            before = agent.critic_step.flat.clone()
        assert torch.equal(agent.target_critic.flat, before)


def test_a_dueling_network_adds_the_value_to_advantages_of_mean_zero():
    policy = ActionValues(LINE, CHOICE, torch.Generator().manual_seed(0), hidden_sizes=[8], is_dueling=True)
    observations = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    features = policy.features(observations)
    advantages, value = policy.advantages(features)[0], policy.state_value(features)[0]
    values = policy(observations)
    torch.testing.assert_close(values, value + advantages - advantages.mean(1, keepdim=True))
    torch.testing.assert_close(values.mean(1), value[:, 0])
    assert policy.act(observations).actions.tolist() == values.argmax(1).tolist()
