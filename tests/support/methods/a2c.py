"""Synchronous advantage actor-critic on CartPole. Source: Mnih et al. 2016, arXiv:1602.01783, Algorithm S3."""

from digideep.agent.on_policy import OnPolicyAgent
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.policy.stochastic import StochasticPolicy
from params import ppo_classic

cpanel = ppo_classic.cpanel | {"n_steps": 8, "lr": 7e-4}


class A2C(OnPolicyAgent):
    """One step of the policy gradient on all of the newest chunk."""

    def __init__(self, context, *, value_loss_coef: float = 0.5, entropy_coef: float = 0.01, **parameters):
        super().__init__(context, **parameters)
        self.value_loss_coef, self.entropy_coef = value_loss_coef, entropy_coef

    def loss(self, now, batch, scheduled):
        policy_loss = -batch.mean(now.log_p * batch.advantages)
        value_loss, entropy = batch.mean((now.value - batch.returns).square()), batch.mean(now.entropy)
        loss = policy_loss + self.value_loss_coef * value_loss - self.entropy_coef * entropy
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


def gen_params(cpanel):
    agent = describe(
        A2C,
        policy=describe(StochasticPolicy, hidden_sizes=[64, 64]),
        sampler=describe(NewestChunk),
        gamma=cpanel["gamma"],
        gae_lambda=1.0,
        lr=cpanel["lr"],
        normalize_advantages=False,
        compile=cpanel["compile"],
    )
    return ppo_classic.gen_params(cpanel) | {"agents": {"agent": agent}}
