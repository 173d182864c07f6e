"""What every agent shares: seeds of its own, where its schedules are, and metrics that are numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from digideep.agent.base import AgentBase
from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.ppo import PPO
from digideep.agent.sac import SAC
from digideep.agent.td3 import TD3
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.continuous import DeterministicPolicy, SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.policy.stochastic import StochasticPolicy
from digideep.utility.errors import NonFiniteError, UsageError
from digideep.utility.plan import Plan
from tests.support.helpers import make_context
from tests.support.replay import CHOICE, LINE, make_agent, make_batch, take_step


def first_draws(name: str, seed: int) -> list[float]:
    """What the generators of an agent draw first: for weights, for actions, for samples."""
    agent = AgentBase(replace(make_context(LINE, CHOICE, seed=seed), name=name), observation_path=None)
    torch_draws = [torch.rand(1, generator=each).item() for each in (agent.init_generator, agent.generator)]
    return [*torch_draws, agent.numpy_generator.random()]


def test_every_agent_of_every_seed_draws_numbers_of_its_own():
    draws = [first_draws(name, seed) for name, seed in (("left", 0), ("right", 0), ("left", 1))]
    assert len({number for each in draws for number in each}) == 9
    assert first_draws("right", 0) == draws[1]


def test_a_restored_agent_knows_where_its_schedules_are():
    schedule = describe(Linear, start=0.1, duration=10)
    agent, other = (make_agent(DQN, lr=schedule, epsilon=schedule) for _ in range(2))
    rates(agent)["lr"].go_on("keep", 4, 10)
    agent.noise.epsilon.go_on("anew", 5, 10)
    other.load_state_dict(agent.state_dict())
    assert rates(other)["lr"](9) == pytest.approx(0.06)
    assert other.noise.epsilon(7) == pytest.approx(0.08)


def rates(agent):
    """An agent's schedules by name."""
    return {name: course for name, (course, _) in agent.schedules().items()}


def test_schedules_last_as_long_as_the_plan_each_in_its_own_unit():
    plan, line = Plan(n_cycles=10, n_steps=3, num_workers=2), describe(Linear, start=0.4)
    memory = Memory(chunk_sample_len=3)
    context = replace(make_context(LINE, CHOICE, memory), plan=plan)
    sampler = describe(Replay, batch_size=1, gradient_steps_per_frame=0.5)
    dqn = DQN(context, policy=describe(ActionValues, hidden_sizes=[4]), sampler=sampler, gamma=0.9, lr=line,
              epsilon=line, target_update_interval=1)  # fmt: skip
    assert (rates(dqn)["lr"](15), rates(dqn)["epsilon"](30)) == (0.2, 0.2), "30 gradient steps, 60 frames"
    memory.store({"/masks": np.ones((2, 4, 1), bool)})
    dqn.n_updates = 4
    assert {name: clock() for name, (_, clock) in dqn.schedules().items()} == {"lr": 4, "epsilon": 6}
    ppo = PPO(context, policy=describe(StochasticPolicy, hidden_sizes=[4]), sampler=describe(NewestChunk), gamma=0.9,
              gae_lambda=0.9, n_update=2, num_mini_batches=2, lr=line, clip_param=line)  # fmt: skip
    assert (rates(ppo)["lr"](5), rates(ppo)["clip_param"](5)) == (0.2, 0.2), "10 updates"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_metrics_that_are_no_numbers_stop_the_run(value):
    agent = make_agent(DQN)
    agent.n_updates = 7
    assert agent.check_finite({"loss": 1.0}) == {"loss": 1.0}
    with pytest.raises(NonFiniteError, match=f"loss of agent 'agent' is {value} in update 7"):
        agent.check_finite({"entropy": 1.0, "loss": float(value)})


@pytest.mark.parametrize("method", ["observe", "join", "allowed", "to_tensor"])
def test_an_agent_that_sees_in_its_own_way_acts_on_what_it_sees(method):
    def own(self, *args):
        return getattr(super(Mine, self), method)(*args)

    Mine = type("Mine", (DQN,), {method: own})
    assert make_agent(DQN).fast_act is not None
    assert make_agent(Mine).fast_act is None


@pytest.mark.parametrize("name", ["policy", "generator", "n_updates", "schedules", "sampler", "critic_optimizer"])
def test_a_name_is_registered_once(name):
    with pytest.raises(UsageError, match=f"'{name}' cannot be registered with DQN: the name is taken"):
        make_agent(DQN).register(name, torch.nn.Linear(1, 1))


def test_only_what_has_a_state_is_registered():
    with pytest.raises(UsageError, match="a Tensor has no state_dict"):
        make_agent(DQN).register("kl", torch.zeros(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(value):
    agent = make_agent(DQN)
    agent.critic_step.flat[-1] = value
    with pytest.raises(NonFiniteError, match=f"The sum of .* of agent 'agent' is {value} in update 0"):
        agent.state_dict()


@pytest.mark.parametrize("cls", [DDPG, TD3, SAC])
def test_an_agents_own_targets_and_losses_are_asked(cls):
    asked = set()

    def asks(name):
        def own(*args):
            asked.add(name)
            return getattr(cls, name)(*args)

        return staticmethod(own)

    names = [name for name in ("critic_targets", "critic_loss", "actor_loss", "alpha_loss") if hasattr(cls, name)]
    agent = make_agent(type("Mine", (cls,), {name: asks(name) for name in names}))
    for _ in range(2):  # TD3's actor waits for the second
        take_step(agent, make_batch(cls))
        agent.n_updates += 1
    assert asked == set(names)


@pytest.mark.parametrize("cls", [DDPG, TD3, SAC])
@pytest.mark.parametrize("critic_outputs", [3, 32])
def test_critics_of_several_outputs_need_a_loss_of_their_own(cls, critic_outputs):
    kind = SquashedGaussianPolicy if cls is SAC else DeterministicPolicy
    policy = describe(kind, hidden_sizes=[16], critic_outputs=critic_outputs)
    with pytest.raises(UsageError, match=r"takes one. Leave critic_outputs at its default"):
        make_agent(cls, policy=policy)
    own = type("Mine", (cls,), {"critic_loss": staticmethod(lambda critics, batch, targets: None)})
    agent = make_agent(own, policy=policy)
    with pytest.raises(UsageError, match=r"takes one. Leave critic_outputs at its default"):  # its targets are not own
        take_step(agent, make_batch(cls))


def test_a_policy_that_is_to_give_values_gives_them_without_an_encoder_too():
    class Mine(StochasticPolicy):
        def __init__(self, *args, **parameters):
            super().__init__(*args, **parameters)
            self.gives_value = True

    agent = PPO(make_context(LINE, CHOICE), policy=describe(Mine, hidden_sizes=[4]), sampler=describe(NewestChunk),
                gamma=0.9, gae_lambda=1.0, lr=1e-3, n_update=1, num_mini_batches=1, clip_param=0.2)  # fmt: skip
    x, masks = {"/agent": np.ones((2, 3), np.float32)}, np.ones(2, np.bool_)
    assert agent.action_generator(x, None, masks, True)["artifacts"]["value"].shape == (2,)
