"""REDQ's and DroQ's switches of SAC, A2C and PQN, beside numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from digideep.agent.a2c import a2c_loss
from digideep.agent.sac import SAC, actor_loss, critic_targets
from digideep.agent.trajectories import Trajectories
from digideep.parameters.component import describe
from digideep.policy.base import Evaluation
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.normalized_networks import LayerNormPerceptron
from digideep.utility.errors import UsageError
from tests.support.replay import make_agent, make_batch, take_step

FIVE = describe(SquashedGaussianPolicy, hidden_sizes=[16], num_critics=5)
DROPPED = describe(SquashedGaussianPolicy, hidden_sizes=[64], critic_network=describe(LayerNormPerceptron, dropout=0.5))


def test_a_target_is_the_least_of_the_critics_that_were_chosen():
    batch = make_batch(SAC, size=2)._replace(rewards=torch.zeros(2), discounts=torch.ones(2))
    values = torch.tensor([[1.0, 9.0], [5.0, 4.0], [3.0, 6.0]])
    targets = critic_targets(
        batch,
        lambda observations, noise: (noise, torch.zeros(2)),
        lambda observations, actions, chosen: values[chosen],
        torch.zeros(2, 2),
        torch.tensor(0.2),
        torch.tensor([2, 1]),
    )
    assert targets.tolist() == [3.0, 4.0]


def test_the_actor_of_chosen_critics_follows_the_mean_of_all():
    loss, _ = actor_loss(
        lambda observations, noise: (noise, torch.zeros(2)),
        make_batch(SAC, size=2),
        lambda observations, actions: torch.tensor([[1.0, 9.0], [5.0, 4.0], [3.0, 8.0]]),
        torch.zeros(2, 2),
        torch.tensor(0.2),
        True,
    )
    assert float(loss) == pytest.approx(-(3 + 7) / 2)


def test_critics_are_chosen_anew_for_each_step_all_as_often():
    agent = make_agent(SAC, policy=FIVE, num_target_critics=2)
    batch = make_batch(SAC)
    drawn = [tuple(sorted(agent.step_arguments(batch)[-1].tolist())) for _ in range(2000)]
    counts = np.bincount(np.array(drawn).ravel(), minlength=5)
    assert len(set(drawn)) == 10
    np.testing.assert_allclose(counts / 2000, 0.4, atol=0.05)


def test_the_first_step_asks_the_chosen_target_critics_alone():
    agent = make_agent(SAC, policy=FIVE, num_target_critics=1, lr_actor=0.0)
    asked, network = [], agent.target_critics.network.module
    network.register_forward_hook(lambda module, args, output: asked.append((args[2], output.shape)))
    take_step(agent, make_batch(SAC))
    ((chosen, shape),) = asked
    assert (len(chosen), shape) == (1, (1, 32))


def test_actor_and_alpha_wait_for_their_delay():
    agent = make_agent(SAC, policy_delay=3)
    for number in range(6):
        actor, alpha = agent.actor_step.flat.clone(), agent.alpha_step.flat.clone()
        metrics, _ = take_step(agent, make_batch(SAC, seed=number))
        agent.n_updates += 1
        is_due = number % 3 == 2
        assert torch.equal(agent.actor_step.flat, actor) != is_due
        assert torch.equal(agent.alpha_step.flat, alpha) != is_due
        assert ("entropy" in metrics) == is_due


def test_without_targets_the_critics_bootstrap_from_themselves():
    agent = make_agent(SAC, polyak_factor=None, lr_actor=0.0)
    batch = make_batch(SAC)
    noise = torch.zeros_like(batch.actions)
    expected = critic_targets(batch, agent.policy.actor, agent.policy.critics, noise, torch.tensor(0.3))
    (found,) = agent.critic_goal(batch, noise, torch.tensor(0.3))
    torch.testing.assert_close(found, expected)
    assert "target_critics" not in agent.parts


def test_dropout_works_in_learner_and_targets_and_not_where_actions_are_judged():
    agent, batch = make_agent(SAC, policy=DROPPED), make_batch(SAC)
    nets = agent.critic_step.learner, agent.target_critics.network, agent.critic_step.frozen
    changes = [torch.equal(*(net(batch.observations, batch.actions) for _ in range(2))) for net in nets]
    assert changes == [False, False, True]
    assert isinstance(agent.policy.critics.layers[1], nn.Dropout)


def test_dropped_units_follow_from_the_agents_own_generator():
    agents = [make_agent(SAC, policy=DROPPED, seed=seed) for seed in (1, 1, 2)]
    flats = []
    for number, agent in enumerate(agents):
        torch.manual_seed(100 + number)
        agent._seed_dropout()
        before = agent.critic_step.flat.clone()
        take_step(agent, make_batch(SAC))
        flats.append(agent.critic_step.flat - before)
    assert torch.equal(flats[0], flats[1])
    assert not torch.equal(flats[0], flats[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_target_critics": 3}, "num_target_critics must be"),
        ({"num_target_critics": 0}, "num_target_critics must be"),
        ({"policy_delay": 0}, "policy_delay must be"),
        ({"polyak_factor": 0.0}, "polyak_factor must be"),
    ],
)
def test_switches_out_of_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        make_agent(SAC, **changes)


def rows(**changes) -> Trajectories:
    fields = {name: torch.zeros(2) for name in ("observations", "actions", "log_p", "values", "advantages", "returns")}
    return Trajectories(**fields | changes)


def test_the_loss_of_a2c_is_policy_gradient_squared_error_and_entropy():
    now = Evaluation(torch.tensor([-1.0, -2.0]), torch.tensor([0.5, 1.5]), torch.tensor([1.0, 3.0]))
    batch = rows(advantages=torch.tensor([2.0, -3.0]), returns=torch.tensor([2.0, 1.0]))
    loss, metrics = a2c_loss(now, batch, value_loss_coef=0.5, entropy_coef=0.1)
    policy, value, entropy = (2.0 - 6.0) / 2, (1 + 4) / 2, 1.0
    assert float(loss) == pytest.approx(policy + 0.5 * value - 0.1 * entropy)
    assert [float(metrics[name]) for name in ("policy_loss", "value_loss", "entropy")] == [policy, value, entropy]
