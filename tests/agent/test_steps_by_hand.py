"""Learning steps of the replay methods beside the same algorithms written out in plain torch.

No parameter is neutral: learning rates differ, weights and discounts vary, gradients and noises are clipped now and
then, and the optimizer's `eps` is so large that the size of a gradient shows.
"""

import copy

import pytest
import torch
from torch.nn.functional import huber_loss
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.sac import SAC
from digideep.agent.td3 import TD3
from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from tests.support.replay import make_agent, make_batch, take_step

RATES = {"actor": 0.01, "critics": 0.03, "alpha": 0.05, "network": 0.1}
COMMON = {"optimizer": describe(Adam, beta1=0.8, beta2=0.9, eps=0.05), "polyak_factor": 0.25}
CONTINUOUS = {**COMMON, "lr_actor": RATES["actor"], "lr_critic": RATES["critics"]}
CHANGES = {
    DDPG: CONTINUOUS,
    TD3: {**CONTINUOUS, "target_noise_std": 0.8, "target_noise_clip": 0.9, "policy_delay": 2},
    SAC: {**CONTINUOUS, "lr_alpha": RATES["alpha"], "alpha": 0.3, "target_update_interval": 2},
    DQN: {**COMMON, "lr": describe(Linear, start=RATES["network"], duration=8), "target_update_interval": 2,
          "max_grad_norm": 0.25},
}  # fmt: skip


class Networks:
    """Copies of an agent's networks, a target and one of torch's optimizers for each."""

    def __init__(self, agent):
        own = agent.policy
        modules = {"network": own} if isinstance(agent, DQN) else {"actor": own.actor, "critics": own.critics}
        if isinstance(agent, SAC):
            modules["alpha"] = agent.alpha_step.module
        self.now = {name: copy.deepcopy(module).requires_grad_(True) for name, module in modules.items()}
        self.target = copy.deepcopy(self.now)
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), RATES[name], betas=(0.8, 0.9), eps=0.05)
            for name, module in self.now.items()
        }

    def descend(self, name, loss, max_grad_norm=float("inf")):
        self.optimizers[name].zero_grad()
        loss.backward()
        norm = clip_grad_norm_(self.now[name].parameters(), max_grad_norm)
        self.optimizers[name].step()
        return float(norm)

    @torch.no_grad()
    def follow(self):
        for name, module in self.now.items():
            for old, new in zip(self.target[name].parameters(), module.parameters(), strict=True):
                old += 0.25 * (new - old)


def ddpg(networks, batch, number, normal):
    """Lillicrap et al. 2016, Algorithm 1."""
    actor, critics = networks.now["actor"], networks.now["critics"]
    with torch.no_grad():
        after = batch.next_observations
        targets = (
            batch.rewards + batch.discounts * networks.target["critics"](after, networks.target["actor"](after))[0]
        )
    values = critics(batch.observations, batch.actions)[0]
    critic_loss = (batch.weights * (values - targets) ** 2).mean()
    networks.descend("critics", critic_loss)
    actor_loss = -critics(batch.observations, actor(batch.observations))[0].mean()
    networks.descend("actor", actor_loss)
    networks.follow()
    return {"critic_loss": critic_loss, "q_value": values.mean(), "actor_loss": actor_loss}


def td3(networks, batch, number, normal):
    """Fujimoto et al. 2018, Algorithm 1."""
    actor, critics = networks.now["actor"], networks.now["critics"]
    noise = (0.8 * normal()).clamp(-0.9, 0.9)
    with torch.no_grad():
        actions = (networks.target["actor"](batch.next_observations) + noise).clamp(-1, 1)
        first, second = networks.target["critics"](batch.next_observations, actions)
        targets = batch.rewards + batch.discounts * torch.minimum(first, second)
    first, second = critics(batch.observations, batch.actions)
    critic_loss = (batch.weights * ((first - targets) ** 2 + (second - targets) ** 2)).mean()
    networks.descend("critics", critic_loss)
    metrics = {"critic_loss": critic_loss, "q_value": (first.mean() + second.mean()) / 2}
    if number % 2 == 0:
        metrics["actor_loss"] = -critics(batch.observations, actor(batch.observations))[0].mean()
        networks.descend("actor", metrics["actor_loss"])
        networks.follow()
    return metrics


def sac(networks, batch, number, normal):
    """Haarnoja et al. 2018, Algorithm 1, for two action dimensions."""
    actor, critics, log_alpha = (networks.now[name] for name in ("actor", "critics", "alpha"))
    next_noise, noise = normal(), normal()
    alpha = log_alpha().exp().detach()
    with torch.no_grad():
        actions, log_p = actor(batch.next_observations, next_noise)
        first, second = networks.target["critics"](batch.next_observations, actions)
        targets = batch.rewards + batch.discounts * (torch.minimum(first, second) - alpha * log_p)
    first, second = critics(batch.observations, batch.actions)
    critic_loss = (batch.weights * ((first - targets) ** 2 + (second - targets) ** 2)).mean() / 2
    networks.descend("critics", critic_loss)
    actions, log_p = actor(batch.observations, noise)
    actor_loss = (alpha * log_p - torch.minimum(*critics(batch.observations, actions))).mean()
    entropy = -log_p.mean().detach()
    networks.descend("actor", actor_loss)
    networks.descend("alpha", log_alpha() * (entropy - -2))
    if number % 2 == 0:
        networks.follow()
    return {"critic_loss": critic_loss, "q_value": (first.mean() + second.mean()) / 2, "actor_loss": actor_loss,
            "entropy": entropy, "alpha": alpha}  # fmt: skip


def dqn(networks, batch, number, normal):
    """Van Hasselt et al. 2016, Eq. 4, with a learning rate that falls by an eighth with each step."""
    network, rows = networks.now["network"], torch.arange(32)
    with torch.no_grad():
        best = network(batch.next_observations).argmax(1)
        targets = batch.rewards + batch.discounts * networks.target["network"](batch.next_observations)[rows, best]
    values = network(batch.observations)[rows, batch.actions]
    critic_loss = (batch.weights * huber_loss(values, targets, reduction="none")).mean()
    networks.optimizers["network"].param_groups[0]["lr"] = RATES["network"] * (1 - (number - 1) / 8)
    networks.norms = [*getattr(networks, "norms", []), networks.descend("network", critic_loss, 0.25)]
    if number % 2 == 0:
        networks.follow()
    return {"critic_loss": critic_loss, "q_value": values.mean()}


def steps_of(agent) -> dict:
    """An agent's gradient steps and targets, by the names above."""
    if isinstance(agent, DQN):
        return {"network": (agent.critic_step, agent.target_critic)}
    steps = {"actor": (agent.actor_step, getattr(agent, "target_actor", None)),
             "critics": (agent.critic_step, agent.target_critics)}  # fmt: skip
    return steps | ({"alpha": (agent.alpha_step, None)} if isinstance(agent, SAC) else {})


@pytest.mark.parametrize(("cls", "by_hand"), [(DDPG, ddpg), (TD3, td3), (SAC, sac), (DQN, dqn)])
def test_learning_steps_are_those_of_the_algorithm_written_out(cls, by_hand):
    agent = make_agent(cls, **CHANGES[cls])
    networks, generator = Networks(agent), torch.Generator()
    generator.set_state(agent.generator.get_state())
    for number in range(1, 7):
        weights = torch.rand(32, generator=torch.Generator().manual_seed(number))
        batch = make_batch(cls, seed=number)._replace(weights=weights)
        metrics, _ = take_step(agent, batch)
        agent.n_updates += 1
        came = by_hand(networks, batch, number, lambda: torch.randn(32, 2, generator=generator))
        expected = {name: metric.item() for name, metric in came.items()}
        assert {name: metric.item() for name, metric in metrics.items()} == pytest.approx(expected, rel=1e-4, abs=1e-6)
        for name, (step, target) in steps_of(agent).items():
            for ours, theirs in ((step, networks.now), (target, networks.target)):
                if ours is not None:
                    plain = parameters_to_vector(theirs[name].parameters()).detach()
                    torch.testing.assert_close(ours.flat, plain, atol=1e-5, rtol=1e-4)
    if cls is DQN:
        assert min(networks.norms) < 0.25 < max(networks.norms), "some gradients are clipped, some are not"
