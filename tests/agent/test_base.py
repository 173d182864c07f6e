"""What every agent shares: seeds of its own, where its schedules are, and metrics that are numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from digideep.agent.base import AgentBase
from digideep.agent.dqn import DQN
from digideep.agent.ppo import PPO
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.discrete import ActionValues
from digideep.policy.stochastic import StochasticPolicy
from digideep.utility.errors import NonFiniteError
from digideep.utility.plan import Plan
from tests.support.helpers import make_context
from tests.support.replay import CHOICE, LINE, make_agent


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
