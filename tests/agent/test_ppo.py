"""PPO: its loss by hand, its first ratio, time limits, and what it refuses."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from digideep.agent.ppo import PPO, ppo_loss
from digideep.agent.trajectories import Trajectories, shuffled_minibatches
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.memory.generic import Memory
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.base import Evaluation
from digideep.policy.stochastic import StochasticPolicy
from digideep.utility.errors import NonFiniteError, UsageError
from tests.support.helpers import NeverWaiting, make_context, make_explorer

COEFFICIENTS = {"value_loss_coef": 0.5, "entropy_coef": 0.1, "use_clipped_value_loss": False}


def make_ppo(observations, actions, memory, **parameters):
    parameters = {
        "policy": describe(StochasticPolicy, hidden_sizes=[16]),
        "sampler": describe(NewestChunk),
        "gamma": 0.9,
        "gae_lambda": 0.95,
        "n_update": 2,
        "num_mini_batches": 2,
        "lr": 1e-3,
        "clip_param": 0.2,
        "compile": "off",
    } | parameters
    return PPO(make_context(observations, actions, memory), **parameters)


def trained_on(name, *, n_steps, memory=None, wrappers=(), num_workers=2, env_kwargs=None, limit=None, **parameters):
    """A PPO and the explorer that feeds it."""
    memory = Memory(chunk_sample_len=n_steps)
    agents = {}

    class Late:  # the explorer is built before the agent knows its spaces
        takes_warm_start, acts_in_parts = False, True

        def __getattr__(self, attribute):
            return getattr(agents["agent"], attribute)

    explorer = make_explorer(
        name, Late(), n_steps=n_steps, num_workers=num_workers, wrappers=wrappers, env_kwargs=env_kwargs, limit=limit
    )
    info = explorer.info
    agents["agent"] = make_ppo(info.observation_spaces["/agent"], info.agent_action_space, memory, **parameters)
    return agents["agent"], explorer, memory


def test_every_row_comes_once_and_only_the_last_minibatch_is_filled_up():
    rows = np.arange(10, 21)
    minibatches = shuffled_minibatches(rows, 4, np.random.default_rng(0))
    assert minibatches.shape == (3, 4)
    flat = minibatches.reshape(-1)
    assert sorted(flat[:11].tolist()) == rows.tolist()
    assert flat[11] == flat[0]
    assert flat[:11].tolist() != rows.tolist()


def test_few_rows_fill_a_minibatch_by_repetition():
    assert sorted(shuffled_minibatches(np.array([3, 4]), 4, np.random.default_rng(0))[0].tolist()) == [3, 3, 4, 4]


class Fixed:
    """A policy whose outputs are given."""

    def __init__(self, log_p, entropy, values):
        self.outputs = tuple(torch.tensor(x, requires_grad=True) for x in (log_p, entropy, values))

    def __call__(self, observations, actions, **others):
        return Evaluation(*self.outputs)


def judge(policy, data, rows, **parameters):
    """The loss of an agent with these parameters, and its metrics by name."""
    agent = make_ppo(gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2), None, **parameters)
    loss, (metrics, divergence) = agent._minibatch_loss(policy, data, rows, {"clip_param": torch.tensor(0.2)})
    return loss, {name: value.item() for name, value in metrics.items()} | {"approx_kl": float(divergence)}


def make_batch(log_p, advantages, returns, values):
    return Trajectories(
        torch.zeros(2, 1), torch.zeros(2, 1), *(torch.tensor(x) for x in (log_p, values, advantages, returns))
    )


def test_the_loss_is_the_one_worked_out_by_hand():
    # Ratios 2 and 0.5, clipped to 1.2 and 0.8; advantages 1 and -1: min(2, 1.2) = 1.2 and min(-0.5, -0.8) = -0.8.
    policy = Fixed([np.log(2.0), np.log(0.5)], [1.0, 3.0], [1.0, 5.0])
    batch = make_batch([0.0, 0.0], [1.0, -1.0], [2.0, 2.0], [0.0, 0.0])
    loss, metrics = judge(policy, batch, torch.arange(2), **COEFFICIENTS, normalize_advantages=False)
    policy_loss, value_loss, entropy = -(1.2 - 0.8) / 2, 0.5 * (1 + 9) / 2, 2.0
    assert loss.item() == pytest.approx(policy_loss + 0.5 * value_loss - 0.1 * entropy)
    kl = ((2 - 1 - np.log(2)) + (0.5 - 1 - np.log(0.5))) / 2
    expected = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "approx_kl": kl}
    assert metrics == pytest.approx({**expected, "clip_fraction": 1.0}, rel=1e-5)


def test_a_clipped_value_loss_takes_the_worse_of_both_errors():
    now = Evaluation(*Fixed([0.0, 0.0], [0.0, 0.0], [1.0, 0.1]).outputs)
    batch = make_batch([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0])
    coefficients = COEFFICIENTS | {"use_clipped_value_loss": True}
    _, metrics = ppo_loss(now, batch, torch.tensor(0.2), **coefficients)
    assert metrics["value_loss"].item() == pytest.approx(0.5 * (0.8**2 + 0.9**2) / 2)  # 1.0 is clipped to 0.2


def test_advantages_are_standardised_within_the_minibatch():
    policy = Fixed([0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    batch = make_batch([0.0, 0.0], [10.0, 30.0], [0.0, 0.0], [0.0, 0.0])
    loss, _ = judge(policy, batch, torch.arange(2), **COEFFICIENTS, normalize_advantages=True)
    loss.backward()
    gradient = policy.outputs[0].grad.tolist()  # -A / 2 at ratio 1; A = -+1/sqrt(2) of a sample of two
    assert gradient == pytest.approx([np.sqrt(0.5) / 2, -np.sqrt(0.5) / 2], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "wrappers"),
    [
        ("Noise-v0", [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]),
        ("Counter-v0", []),
    ],
)
def test_the_ratio_is_one_on_the_first_minibatch_of_the_first_epoch(name, wrappers):
    agent, explorer, memory = trained_on(name, n_steps=48, wrappers=wrappers)
    seen = []
    original = agent.step.loss

    def watched(policy, data, rows, scheduled):
        now = policy(data.observations[rows], data.actions[rows])
        seen.append((now.log_p - data.log_p[rows]).exp().detach())
        return original(policy, data, rows, scheduled)

    agent.step.loss = watched
    for _ in range(3):  # the third chunk starts within an episode
        seen.clear()
        memory.store(explorer.update())
        agent.update()
        torch.testing.assert_close(seen[0], torch.ones_like(seen[0]), atol=2e-6, rtol=0)
        assert (seen[-1] != 1).any()


def value_of_constant_reward(**changes) -> float:
    agent, explorer, memory = trained_on(
        "ConstantReward-v0", n_steps=64, lr=describe(Linear, start=0.02, duration=200), n_update=5, **changes
    )
    for _ in range(200):
        memory.store(explorer.update())
        agent.update()
    return agent.policy.value(torch.ones(1, 1)).item()


def test_the_value_behind_a_time_limit_is_that_of_going_on_for_ever():
    assert value_of_constant_reward() == pytest.approx(1 / (1 - 0.9), rel=0.03)


def test_taking_a_truncation_for_a_termination_would_show(monkeypatch):
    import digideep.agent.on_policy as module

    honest = module.generalized_advantages

    def confused(rewards, values, terminations, masks, **parameters):
        ends = masks[:, :-1] & ~masks[:, 1:]
        return honest(rewards, values, terminations | ends, masks, **parameters)

    monkeypatch.setattr(module, "generalized_advantages", confused)
    assert value_of_constant_reward() < 0.9 / (1 - 0.9)


def test_half_steps_are_never_learned_from():
    agent, explorer, memory = trained_on("Counter-v0", n_steps=12, env_kwargs={"length": 2})
    memory.store(explorer.update())
    used = set()
    original = agent.step.loss
    agent.step.loss = lambda policy, data, rows, clip: used.update(rows.tolist()) or original(policy, data, rows, clip)
    agent.update()
    masks = memory.last_chunk()["/masks"][..., 0].copy()
    masks[:, -1] = False
    assert used == set(np.flatnonzero(masks).tolist())


def test_no_gradient_step_waits_for_the_device(monkeypatch):
    agent, explorer, memory = trained_on("Counter-v0", n_steps=32)
    memory.store(explorer.update())
    step, taken = agent._step, []

    def watched(*args):
        with NeverWaiting():
            taken.append(step(*args))
        return taken[-1]

    monkeypatch.setattr(agent, "_step", watched)
    agent.update()
    assert len(taken) == 2 * 2


def test_the_learning_rate_follows_its_schedule():
    schedule = describe(Linear, start=0.1, end=0.0, duration=4)
    agent, explorer, memory = trained_on("Counter-v0", n_steps=8, lr=schedule)
    rates = []
    for _ in range(6):
        memory.store(explorer.update())
        rates.append(agent.update()["lr"])
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0, 0.0])


def test_a_restored_agent_learns_on_exactly():
    agent, explorer, memory = trained_on("Counter-v0", n_steps=16)
    for _ in range(3):
        memory.store(explorer.update())
        agent.update()
    other = make_ppo(explorer.info.observation_spaces["/agent"], explorer.info.agent_action_space, memory)
    state = agent.state_dict()
    other.load_state_dict({**state, "policy": {k: v.clone() for k, v in state["policy"].items()}})
    observations = {"/agent": np.array([[1.0], [2.0]], np.float32)}
    for each in (agent, other):
        each.update()
    assert torch.equal(agent.step.flat, other.step.flat)
    first, second = (each.action_generator(observations, None, np.ones(2, bool), False) for each in (agent, other))
    np.testing.assert_array_equal(first["artifacts"]["action_log_p"], second["artifacts"]["action_log_p"])


def test_deterministic_actions_draw_nothing():
    agent, _, _ = trained_on("Counter-v0", n_steps=4)
    before = agent.generator.get_state()
    agent.action_generator({"/agent": np.zeros((2, 1), np.float32)}, None, np.ones(2, bool), True)
    assert torch.equal(before, agent.generator.get_state())


def test_a_loss_that_is_not_finite_stops_the_run():
    agent, explorer, memory = trained_on("Counter-v0", n_steps=8)
    chunk = explorer.update()
    chunk["/rewards"][0, 0] = np.inf
    memory.store(chunk)
    with pytest.raises(NonFiniteError, match="of agent 'agent' is nan in update 1"):
        agent.update()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gamma": 1.5}, r"gamma must be a number in \[0, 1\], got 1.5"),
        ({"gae_lambda": -0.1}, r"gae_lambda must be a number in \[0, 1\]"),
        ({"n_update": 0}, "n_update must be an integer of at least 1, got 0"),
        ({"num_mini_batches": 2.5}, "num_mini_batches must be an integer"),
        ({"clip_param": 0}, r"clip_param must be in \(0, 1\) at the start"),
        ({"lr": float("nan")}, "value must be a finite number"),
        ({"observation_path": "/agnet"}, r"'/agnet' is no observation. Did you mean '/agent'\?"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        make_ppo(gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2), None, **parameters)
