"""Behaviour cloning and TD3+BC, beside numbers by hand."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from digideep.agent import ddpg, sac, td3
from digideep.agent.behaviour_cloning import BehaviourCloning, evaluation_loss
from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.ppo import PPO
from digideep.agent.sac import SAC
from digideep.agent.td3 import TD3
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.policy.stochastic import RecurrentPolicy, StochasticPolicy
from digideep.utility.errors import UsageError
from tests.support.helpers import make_context
from tests.support.replay import LINE, UNIT, make_agent, make_batch, take_step

CLONING = {"steps": 100, "memory": "train", "sampler": describe(Replay, batch_size=16), "lr": 1e-2}


def never():
    return False


def demonstrated(actions=None):
    """A memory in which somebody acts by a rule: minus half of what is seen, or the sign of it."""
    generator = np.random.default_rng(0)
    seen = generator.normal(size=(1, 41, 3)).astype(np.float32)
    chosen = (seen[..., 0] > 0).astype(np.int64) if actions else np.tanh(-0.5 * seen[..., :2])
    masks = np.ones((1, 41, 1), np.bool_)
    masks[:, 20] = False
    seen[:, 20], chosen[:, 20] = 50, 1  # where no step was taken: nobody learns from it
    memory = Memory(chunk_sample_len=40)
    memory.store({
        "/observations/agent": seen, "/agents/agent/actions": chosen, "/masks": masks,
        "/rewards": np.zeros((1, 41, 1), np.float32), "/terminations": ~masks,
    })  # fmt: skip
    return memory


def make_ppo(memory, actions, policy=StochasticPolicy, **changes):
    parameters = {"hidden_sizes": [16]}
    return PPO(
        make_context(LINE, actions, memory), policy=describe(policy, **parameters), sampler=describe(NewestChunk),
        gamma=0.9, gae_lambda=0.9, n_update=1, num_mini_batches=1, clip_param=0.2, lr=1e-3, compile="off", **changes,
    )  # fmt: skip


def learner(kind, **changes):
    """An agent that is to be pretrained, and its memory."""
    pretraining = describe(BehaviourCloning, **CLONING | changes)
    if kind == "ppo":
        return make_ppo(demonstrated(), UNIT, pretraining=pretraining)
    if kind == "ppo of numbers":
        return make_ppo(demonstrated(Discrete(2)), Discrete(2), pretraining=pretraining)
    return make_agent({"sac": SAC, "td3": TD3, "ddpg": DDPG}[kind], memory=demonstrated(), pretraining=pretraining)


@pytest.mark.parametrize("kind", ["ppo", "ppo of numbers", "sac", "td3", "ddpg"])
def test_a_policy_learns_to_do_what_was_done(kind):
    agent = learner(kind)
    losses = []
    agent.parts["pretraining"].run(losses.append, never)
    assert [list(each) for each in losses] == [["bc_loss"]] * 2
    assert losses[-1]["bc_loss"] < losses[0]["bc_loss"]
    seen = np.array([[0.8, -0.6, 0.1], [-1.0, 0.9, 0.2]], np.float32)
    actions = agent.action_generator({"/agent": seen}, None, np.ones(2, np.bool_), True)["actions"]
    if kind == "ppo of numbers":
        assert actions.tolist() == [1, 0]
    else:
        np.testing.assert_allclose(actions, np.tanh(-0.5 * seen[:, :2]), atol=0.2)
    for target in ("target_actor", "target_critics"):
        if target in agent.parts:
            step = agent.actor_step if target == "target_actor" else agent.critic_step
            assert torch.equal(agent.parts[target].flat, step.flat), "targets follow"


@pytest.mark.parametrize("kind", ["ppo", "td3"])
def test_cloning_that_is_stopped_goes_on_exactly(kind):
    straight, stopped, resumed = learner(kind), learner(kind), learner(kind)
    straight.parts["pretraining"].run(lambda losses: None, never)
    asked = iter([False, True])
    stopped.parts["pretraining"].run(lambda losses: None, lambda: next(asked))
    assert stopped.parts["pretraining"].n_done == 50
    resumed.load_state_dict(stopped.state_dict())
    resumed.parts["pretraining"].run(lambda losses: None, never)
    ours, theirs = straight.state_dict(), resumed.state_dict()
    for name, weights in ours["policy"].items():
        assert torch.equal(weights, theirs["policy"][name]), name
    assert ours["numpy_generator"] == theirs["numpy_generator"]
    assert ours["pretraining"] == theirs["pretraining"] == {"n_done": 100, "optimizer": {}}
    before = [each.clone() for each in straight.policy.parameters()]
    straight.parts["pretraining"].run(lambda losses: None, never)  # nothing is left
    assert all(torch.equal(a, b) for a, b in zip(before, straight.policy.parameters(), strict=True))


def test_the_optimizer_of_what_comes_next_has_seen_nothing_of_it():
    agent, fresh = learner("td3"), learner("td3")
    agent.parts["pretraining"].run(lambda losses: None, never)
    for name, tensor in fresh.actor_step.state_dict().items():
        assert torch.equal(tensor, agent.actor_step.state_dict()[name]), name


def test_the_losses_are_those_of_the_literature():
    actions, guesses = torch.tensor([[0.5, -0.5], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert ddpg.cloning_loss(lambda seen: guesses, guesses, actions).item() == (0.25 + 0.25 + 0 + 1) / 4

    class Certain:
        log_p = torch.tensor([-1.0, -3.0])

    assert evaluation_loss(lambda seen, actions: Certain, guesses, actions).item() == 2.0
    assert sac.cloning_loss(lambda seen, actions: (actions, Certain.log_p), guesses, actions).item() == 2.0


def test_a_given_action_is_as_likely_as_when_it_was_drawn():
    actor = make_agent(SAC).policy.actor
    seen, noise = torch.randn(64, 3), torch.randn(64, 2)
    actions, log_p = actor(seen, noise)
    again, found = actor(seen, actions=actions)
    torch.testing.assert_close(again, actions, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found, log_p, atol=1e-2, rtol=1e-3)
    _, at_the_end = actor(seen, actions=torch.ones(64, 2))
    assert torch.isfinite(at_the_end).all()


def test_td3_bc_weighs_values_by_their_size_and_stays_near_what_was_done():
    chosen, actions = torch.tensor([[0.5], [-0.5]]), torch.tensor([[0.0], [0.5]])
    values = torch.tensor([[2.0, -6.0]])
    loss, metrics = td3.actor_loss(lambda seen: chosen, chosen, lambda seen, acts, num: values, actions, 2.5)
    assert metrics["bc_loss"].item() == (0.25 + 1.0) / 2
    assert loss.item() == pytest.approx(0.625 - 2.5 / 4 * -2)
    plain, metrics = td3.actor_loss(lambda seen: chosen, chosen, lambda seen, acts, num: values)
    assert (plain.item(), list(metrics)) == (2.0, ["actor_loss"])


def test_td3_bc_without_values_is_behaviour_cloning():
    agent = make_agent(TD3, bc_alpha=0.0, policy_delay=1, lr_actor=0.03)
    batch = make_batch(TD3, size=4)
    for _ in range(60):
        metrics, _ = take_step(agent, batch)
    assert metrics["bc_loss"] < 0.02
    assert metrics["actor_loss"] == metrics["bc_loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps of BehaviourCloning must be an integer of at least 1, got 0"),
        ({"lr": 0.0}, "lr of BehaviourCloning"),
        ({"sampler": describe(Memory, chunk_sample_len=1)}, "Memory is no sampler"),
    ],
)
def test_values_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        learner("td3", **changes)


def test_a_memory_that_is_not_there_or_empty_is_refused():
    with pytest.raises(UsageError, match="memory 'demo', which there is not"):
        learner("td3", memory="demo").parts["pretraining"].check()
    empty = make_agent(TD3, pretraining=describe(BehaviourCloning, **CLONING))
    with pytest.raises(UsageError, match="memory 'train', which is empty"):
        empty.parts["pretraining"].check()


def test_who_cannot_be_pretrained_says_so():
    pretraining = describe(BehaviourCloning, **CLONING)
    with pytest.raises(UsageError, match="DQN cannot be pretrained"):
        make_agent(DQN, pretraining=pretraining).check_plan()
    with pytest.raises(UsageError, match="RecurrentPolicy remembers, and cannot be pretrained"):
        make_ppo(demonstrated(), UNIT, RecurrentPolicy, pretraining=pretraining)


def test_a_sampler_of_two_memories_goes_on_within_cloning():
    def shared():
        memory, other = demonstrated(), demonstrated()
        sampler = describe(Replay, batch_size=16, shares={"other": 0.3337})
        return make_agent(SAC, memory=memory, pretraining=describe(BehaviourCloning, **CLONING | {"sampler": sampler}),
                           others={"other": other})  # fmt: skip

    straight, stopped, resumed = shared(), shared(), shared()
    straight.parts["pretraining"].run(lambda _: None, never)
    stopped.parts["pretraining"].run(lambda _: None, lambda: stopped.parts["pretraining"].n_done >= 50)
    resumed.load_state_dict(stopped.state_dict())
    resumed.parts["pretraining"].run(lambda _: None, never)
    assert torch.equal(resumed.actor_step.flat, straight.actor_step.flat)
