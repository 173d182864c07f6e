"""What the tests of replay methods share: small agents, small environments, and the loop without a Runner."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box

from digideep.agent.crossq import CrossQ
from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.drqv2 import DrQv2
from digideep.agent.noises import GaussianNoise
from digideep.agent.off_policy import Transitions
from digideep.agent.qr_dqn import QRDQN
from digideep.agent.sac import SAC
from digideep.agent.sac_discrete import DiscreteSAC
from digideep.agent.sacv1 import SACv1
from digideep.agent.td3 import TD3
from digideep.agent.tqc import TQC
from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.parameters.component import describe
from digideep.policy.continuous import DeterministicPolicy, SquashedGaussianPolicy, ValuedGaussianPolicy
from digideep.policy.discrete import ActionValues, CategoricalPolicy
from digideep.policy.normalized_networks import BatchRenormPerceptron
from digideep.telemetry.profiler import Profiler
from tests.support.helpers import make_context

torch.set_num_threads(1)  # several are many times slower on networks of this size


class Bandit(gym.Env):
    """One step; the reward is largest, 0, for the action 4.25 of [2, 5]."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(np.float32(2), np.float32(5), (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return np.zeros(1, np.float32), -float((action[0] - 4.25) ** 2), True, False, {}


if "Bandit-v0" not in gym.registry:
    gym.register("Bandit-v0", Bandit)

LINE = Box(-np.inf, np.inf, (3,), np.float32)  # observations of the agents below, unless they get others
UNIT = Box(-1, 1, (2,), np.float32)
CHOICE = gym.spaces.Discrete(3)
NUMBERED = (DQN, DiscreteSAC)  # and their subclasses choose among numbered actions


def make_agent(
    cls,
    observations=LINE,
    actions=None,
    memory=None,
    seed=0,
    replay=None,
    infos=None,
    device="cpu",
    precision="fp32",
    others=None,
    **changes,
):
    """One of the agents, or of a subclass, with networks of 16 units. Args: others: further memories, by name."""
    replay = describe(Replay, **({"batch_size": 32, "learning_starts": 32} | (replay or {})))
    network = {"hidden_sizes": [16], "precision": precision}
    common = {"gamma": 0.9, "sampler": replay, "compile": "off"}
    soft = {"polyak_factor": 0.05, "lr_actor": 3e-3, "lr_critic": 3e-3, "lr_alpha": 3e-3}
    own = {
        SAC: {"policy": describe(SquashedGaussianPolicy, **network), **soft},
        TQC: {"policy": describe(SquashedGaussianPolicy, **network, critic_outputs=4), **soft, "dropped_quantiles": 1},
        CrossQ: {"policy": describe(SquashedGaussianPolicy, **network, network=describe(BatchRenormPerceptron)),
                 **soft, "polyak_factor": None},
        DiscreteSAC: {"policy": describe(CategoricalPolicy, **network), **soft},
        QRDQN: {"policy": describe(ActionValues, **network, critic_outputs=4), "target_update_interval": 20, "lr": 3e-3,
                "epsilon": 0.2},
        SACv1: {"policy": describe(ValuedGaussianPolicy, **network), "polyak_factor": 0.05, "lr_actor": 3e-3,
                "lr_critic": 3e-3, "lr_value": 3e-3},
        TD3: {"policy": describe(DeterministicPolicy, **network), "polyak_factor": 0.05, "lr_actor": 3e-3,
              "lr_critic": 3e-3, "noise": describe(GaussianNoise, std=0.1)},
        DDPG: {"policy": describe(DeterministicPolicy, **network, num_critics=1), "polyak_factor": 0.05,
               "lr_actor": 3e-3, "lr_critic": 3e-3, "noise": describe(GaussianNoise, std=0.1)},
        DrQv2: {"policy": describe(DeterministicPolicy, **network, shared_features=5), "polyak_factor": 0.05,
                "lr_actor": 3e-3, "lr_critic": 3e-3, "noise_std": 0.2},
        DQN: {"policy": describe(ActionValues, **network), "target_update_interval": 20, "lr": 3e-3,
              "epsilon": 0.2},
    }  # fmt: skip
    own = own[next(kind for kind in cls.__mro__ if kind in own)]
    actions = actions or (CHOICE if issubclass(cls, NUMBERED) else UNIT)
    memory = memory if memory is not None else Memory(chunk_sample_len=4, buffer_chunk_len=500)
    context = make_context(observations, actions, memory, seed, infos, device)
    context = replace(context, memories={"train": memory, **others}) if others else context
    return cls(context, **common | own | changes)


def make_batch(cls, size=32, seed=0, device="cpu") -> Transitions:
    """Random transitions for the spaces above."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.rand(size, 2, generator=generator) * 2 - 1
    batch = (
        torch.randn(size, 3, generator=generator),
        torch.randint(3, (size,), generator=generator) if issubclass(cls, NUMBERED) else actions,
        torch.randn(size, generator=generator),
        torch.full((size,), 0.9) * (torch.rand(size, generator=generator) > 0.2),
        torch.randn(size, 3, generator=generator),
        torch.ones(size),
    )
    return Transitions(*(each.to(device) for each in batch))


def practise(cls, name, cycles, *, module="tests.support.replay", warm_start=0, num_workers=2, **changes):
    """Turn the loop. Returns: the agent, and the Explorer with what it has collected in the agent's memory."""
    spec = EnvironmentSpec(name=name, from_module=module)
    info = inspect_environment(spec)
    agent = make_agent(cls, info.observation_spaces["/agent"], info.agent_action_space, **changes)
    explorer = Explorer(
        "train", {"agent": agent}, spec, info, 0, Profiler(), num_workers=num_workers, n_steps=4, warm_start=warm_start
    )
    for _ in range(cycles):
        agent.memory.store(explorer.update())
        agent.update()
    return agent, explorer


def take_step(agent, batch):
    """One gradient step, as `update` takes it. Returns: metrics by name, absolute errors."""
    for step, course in agent._rates:
        step.set_lr(course(agent.n_updates))
    metrics, errors = agent._step(batch, *agent.step_arguments(batch))
    agent.after_step()
    return dict(zip(metrics.names, metrics.values, strict=True)), errors
