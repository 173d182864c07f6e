"""Actors that read the critics' encoder: who trains it, DrQ-v2's step beside plain torch, and what is refused."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.nn.utils import parameters_to_vector

from digideep.agent.ddpg import DDPG
from digideep.agent.drqv2 import DrQv2, actor_loss, critic_targets, noisy
from digideep.agent.noises import GaussianNoise
from digideep.agent.sac import SAC
from digideep.agent.sacv1 import SACv1
from digideep.agent.td3 import TD3
from digideep.learning.optimizers import Adam
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.continuous import DeterministicPolicy, SquashedGaussianPolicy, ValuedGaussianPolicy
from digideep.policy.observations import Features
from digideep.policy.pixel_encoders import DrQCNN
from digideep.utility.errors import UsageError
from tests.support.replay import LINE, make_agent, make_batch, practise, take_step


class Column(gym.Env):
    """One step; a column of the picture is white, and the best action says which."""

    observation_space = Box(0, 255, (16, 16, 3), np.uint8)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.column = int(self.np_random.integers(16))
        return self.pictures()[self.column], {}

    def step(self, action):
        return self.pictures()[self.column], -float((action[0] - best(self.column)) ** 2), True, False, {}

    @staticmethod
    def pictures():
        """Every picture that there is, uint8 (16, 16, 16, 3)."""
        return np.eye(16, dtype=np.uint8)[:, None, :, None].repeat(16, 1).repeat(3, 3) * 255


def best(column):
    """The best action, in [-0.75, 0.75]."""
    return (column - 7.5) / 10


if "Column-v0" not in gym.registry:
    gym.register("Column-v0", Column)

PIXELS = Box(0, 255, (2, 16, 16, 3), np.uint8)  # a stack of two pictures
POLICIES = {SAC: SquashedGaussianPolicy, TD3: DeterministicPolicy, DDPG: DeterministicPolicy,
            DrQv2: DeterministicPolicy}  # fmt: skip


def make(cls, observations=PIXELS, **changes):
    policy = describe(POLICIES[cls], hidden_sizes=[16], encoder=describe(DrQCNN), shared_features=5)
    return make_agent(cls, {"/agent": observations}, **{"policy": policy} | changes)


def pictures(size=8, seed=0):
    """A batch of pictures, of 8 transitions."""
    generator = torch.Generator().manual_seed(seed)
    seen = [torch.randint(256, (size, *PIXELS.shape), dtype=torch.uint8, generator=generator) for _ in range(2)]
    batch = make_batch(TD3, size, seed)
    return batch._replace(observations={"/agent": seen[0]}, next_observations={"/agent": seen[1]})


def flat(module):
    return parameters_to_vector(module.parameters()).detach().clone()


@pytest.mark.parametrize("cls", POLICIES)
def test_the_critics_loss_alone_trains_the_encoder(cls):
    agent = make(cls, lr_critic=1e-9, **({"policy_delay": 1} if cls is TD3 else {}))
    before = [flat(agent.policy.critics.encoder.encoder), flat(agent.policy.actor)]
    take_step(agent, pictures())
    assert torch.allclose(flat(agent.policy.critics.encoder.encoder), before[0], atol=1e-7)
    assert not torch.allclose(flat(agent.policy.actor), before[1], atol=1e-4), "the actor has learned"
    agent = make(cls, lr_actor=1e-9)
    before = flat(agent.policy.critics.encoder.encoder)
    take_step(agent, pictures())
    assert not torch.allclose(flat(agent.policy.critics.encoder.encoder), before, atol=1e-4)
    assert not [name for name, _ in agent.policy.actor.named_parameters() if "convolutions" in name]


def test_a_step_of_drqv2_equals_plain_torch():
    rule = describe(Adam, beta1=0.8, beta2=0.9, eps=0.05)
    agent = make(DrQv2, optimizer=rule, lr_actor=0.01, lr_critic=0.03, polyak_factor=0.25, noise_clip=0.4)
    policy = agent.policy
    encoder, critics, actor = (copy.deepcopy(m).requires_grad_() for m in (
        policy.critics.encoder.encoder, torch.nn.ModuleList([policy.critics.encoder.projection, policy.critics.layers]),
        policy.actor,
    ))  # fmt: skip
    targets = copy.deepcopy(critics)

    def values(networks, features, actions):
        projected = networks[0](features)
        return networks[1](torch.cat([projected, actions], -1)).squeeze(-1)

    def optimizer(modules, lr):
        return torch.optim.Adam([p for m in modules for p in m.parameters()], lr, betas=(0.8, 0.9), eps=0.05)

    of_critics, of_actor = optimizer([encoder, critics], 0.03), optimizer([actor], 0.01)
    for seed in range(3):
        batch = pictures(seed=seed)
        draws = [torch.randn(8, 2, generator=torch.Generator().manual_seed(seed + k)) for k in (10, 20)]
        next_noise, noise = ((draw * 0.5).clamp(-0.4, 0.4) for draw in draws)
        with torch.no_grad():
            following = encoder(batch.next_observations)
            actions = (actor.forward(Features(following)) + next_noise).clamp(-1, 1)
            y = batch.rewards + batch.discounts * values(targets, following, actions).amin(0)
        features = encoder(batch.observations)
        of_critics.zero_grad()
        (values(critics, features, batch.actions) - y).square().mean(-1).sum().backward()
        of_critics.step()
        of_actor.zero_grad()
        chosen = actor.forward(Features(features.detach()))
        chosen = chosen + ((chosen + noise).clamp(-1, 1) - chosen).detach()
        (-values(critics, features.detach(), chosen).amin(0).mean()).backward()
        of_actor.step()
        with torch.no_grad():
            for old, new in zip(targets.parameters(), critics.parameters(), strict=True):
                old.lerp_(new, 0.25)
        for step, course in agent._rates:
            step.set_lr(course(0))
        agent.gradient_step(batch, next_noise, noise)
    torch.testing.assert_close(flat(policy.critics.encoder.encoder), flat(encoder), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(flat(policy.actor), flat(actor), atol=2e-5, rtol=1e-4)
    own = agent.target_critics.network.module
    found = torch.cat([flat(own.encoder.projection), flat(own.layers)])
    torch.testing.assert_close(found, flat(targets), atol=2e-5, rtol=1e-4)


def test_the_losses_of_drqv2_are_those_of_the_paper():
    batch = make_batch(TD3, size=2)._replace(rewards=torch.tensor([1.0, 2.0]), discounts=torch.tensor([0.5, 0.0]))

    def critics(observations, actions):
        return torch.stack([actions[:, 0], 2 * actions[:, 0]])

    def actor(observations):
        return torch.tensor([[0.9, 0.0], [-0.5, 0.0]])

    noise = torch.tensor([[0.3, 0.0], [0.1, 0.0]])
    assert critic_targets(batch, actor, critics, noise).tolist() == [1.5, 2.0]  # 0.9 + 0.3 is cut to 1
    loss, _ = actor_loss(actor, batch.observations, critics, noise)
    assert float(loss) == pytest.approx(-(1.0 - 0.8) / 2)  # the smaller of two critics: 1 and 2 * -0.4


def test_the_gradient_passes_where_noise_is_cut_off():
    actions = torch.tensor([[0.9], [0.1]], requires_grad=True)
    noisy(actions, torch.tensor([[0.5], [0.1]])).sum().backward()
    assert actions.grad.tolist() == [[1.0], [1.0]]


def test_the_noise_follows_its_schedule_when_acting_and_when_learning(monkeypatch):
    agent = make(DrQv2, noise_std=describe(Linear, start=1.0, end=0.0, duration=1000), noise_clip=10.0)
    actions, alive = np.zeros((4000, 2), np.float32), np.ones(4000, bool)
    noise = GaussianNoise(np.random.default_rng(0), std=describe(Linear, start=0.4, end=0.0, duration=1000))
    assert noise(actions, alive, 0, None).std() == pytest.approx(0.39, abs=0.02)  # a little is cut off
    assert noise(actions, alive, 500, None).std() == pytest.approx(0.2, abs=0.02)
    batch = make_batch(TD3, size=4000)
    for frames, expected in ((0, 1.0), (750, 0.25), (2000, 0.0)):
        monkeypatch.setattr(type(agent.memory), "n_frames", frames)
        for each in agent.step_arguments(batch):
            assert float(each.std()) == pytest.approx(expected, abs=0.02)
    assert "noise_std" in agent.schedules()
    limited = make(DrQv2, noise_std=2.0, noise_clip=0.3).step_arguments(batch)
    assert [float(noise.abs().max()) for noise in limited] == pytest.approx([0.3, 0.3])
    assert make(DrQv2).schedules().keys() == {"lr_critic", "lr_actor"}, "a number needs no curve"


def test_the_compiled_step_with_a_shared_encoder_equals_the_eager_one():
    eager, fast = (make(DrQv2, compile=choice) for choice in ("off", "on"))
    for seed in range(3):
        (of_eager, _), (of_fast, _) = (take_step(agent, pictures(seed=seed)) for agent in (eager, fast))
    torch.testing.assert_close(fast.critic_step.flat, eager.critic_step.flat, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(fast.actor_step.flat, eager.actor_step.flat, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(of_fast, of_eager, atol=1e-3, rtol=1e-3)


def test_pixels_are_centred_and_small_images_refused():
    generator = torch.Generator().manual_seed(0)
    encoder = DrQCNN(PIXELS, generator)
    assert encoder.out_features == 32
    assert DrQCNN(Box(0, 255, (3, 84, 84, 3), np.uint8), generator).out_features == 39_200
    seen = []
    encoder.convolutions[0].register_forward_pre_hook(lambda module, args: seen.append(args[0] * module.scale))
    encoder(torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None, None].expand(2, *PIXELS.shape))
    assert [float(each.mean()) for each in seen[0]] == pytest.approx([-0.5, 0.5])
    with pytest.raises(UsageError, match="DrQCNN needs images of at least 15 x 15 pixels, got 14 x 20"):
        DrQCNN(Box(0, 255, (14, 20, 3), np.uint8), generator)


def test_what_cannot_share_an_encoder_is_refused():
    with pytest.raises(UsageError, match="shared_features=5 shares an encoder, and what this policy sees needs none"):
        make_agent(TD3, LINE, policy=describe(DeterministicPolicy, hidden_sizes=[4], shared_features=5))
    with pytest.raises(UsageError, match=r"DrQv2's actor reads the critics' encoder. Give its policy shared_features"):
        make_agent(DrQv2, {"/agent": PIXELS}, policy=describe(DeterministicPolicy, hidden_sizes=[4]))
    policy = describe(ValuedGaussianPolicy, hidden_sizes=[4], encoder=describe(DrQCNN), shared_features=5)
    with pytest.raises(UsageError, match="which the agent does not hand on"):
        take_step(make_agent(SACv1, {"/agent": PIXELS}, policy=policy), pictures())


def test_the_actor_acts_on_the_encoder_as_it_is_now():
    agent = make(DrQv2)
    seen = pictures().observations
    before = agent.policy.act(seen).actions
    with torch.no_grad():
        for parameter in agent.policy.critics.encoder.encoder.parameters():
            parameter.mul_(3.0)
    assert not torch.allclose(before, agent.policy.act(seen).actions)
    assert agent.policy.mode(seen).value.shape == (8,)


@pytest.mark.learning
@pytest.mark.timeout(600)
def test_drqv2_learns_from_pixels_which_column_is_white():
    agent, _ = practise(
        DrQv2, "Column-v0", 100, module="tests.agent.test_shared_encoder", warm_start=64, noise_std=0.2, lr_actor=1e-3,
        lr_critic=1e-3, policy=describe(DeterministicPolicy, hidden_sizes=[32], encoder=describe(DrQCNN),
                                        shared_features=16),
    )  # fmt: skip
    chosen = agent.policy.act({"/agent": torch.from_numpy(Column.pictures())}).actions[:, 0].numpy()
    assert np.corrcoef(chosen, best(np.arange(16)))[0, 1] > 0.8
