"""What replay methods share: when to learn, from what, and that details which break results are in place."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from digideep.agent import ddpg, dqn, sac, td3
from digideep.agent.crossq import CrossQ
from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.qr_dqn import QRDQN
from digideep.agent.sac import SAC
from digideep.agent.sac_discrete import DiscreteSAC
from digideep.agent.td3 import TD3
from digideep.agent.tqc import TQC
from digideep.environment.spaces import ActionScaler
from digideep.learning import compiling
from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.base import PolicyBase
from digideep.policy.continuous import DeterministicPolicy, SquashedGaussianPolicy
from digideep.utility.errors import NonFiniteError, UsageError
from tests.agent.test_steps_by_hand import steps_of
from tests.memory.test_replay import Stream
from tests.support.helpers import DEVICES, NeverWaiting
from tests.support.replay import CHOICE, LINE, NUMBERED, UNIT, Bandit, make_agent, make_batch, practise, take_step

CONTINUOUS, ALL = [DDPG, TD3, SAC], [DDPG, TD3, SAC, DQN]
EVERY = [*ALL, TQC, CrossQ, DiscreteSAC, QRDQN]


@pytest.mark.parametrize("cls", CONTINUOUS)
def test_a_one_step_bandit_with_actions_from_2_to_5_learns_the_best_one_inside(cls):
    changes = {"alpha": 0.01, "automatic_entropy_tuning": False} if cls is SAC else {}
    policy = SquashedGaussianPolicy if cls is SAC else DeterministicPolicy
    changes["policy"] = describe(policy, hidden_sizes=[64], num_critics=1 if cls is DDPG else 2)
    replay = {"gradient_steps_per_frame": 3.0, "learning_starts": 120}
    agent, _ = practise(cls, "Bandit-v0", 60, warm_start=240, replay=replay, lr_critic=1e-2, lr_actor=2e-3, **changes)
    observation = {"/agent": np.zeros((1, 1), np.float32)}
    action = agent.action_generator(observation, None, np.ones(1, bool), True)["actions"]
    assert ActionScaler(Bandit.action_space)(action)[0, 0] == pytest.approx(4.25, abs=0.15)


def test_a_batch_holds_what_the_memory_holds_of_its_transitions():
    # Observations are (worker, episode, step), rewards 10 * episode + step + 1; the mask allows the action `step` only.
    memory, stream = Memory(chunk_sample_len=4, buffer_chunk_len=4), Stream()
    for _ in range(6):
        chunk = stream.chunk(4)
        chunk["/agents/agent/actions"] = chunk.pop("/agents/a/actions")
        chunk["/infos/action_mask"] = np.eye(5, dtype=np.int8)[chunk["/observations/agent"][..., 2].astype(int)]
        memory.store(chunk)
    agent = make_agent(
        DQN, LINE, gym.spaces.Discrete(5), memory, replay={"n_step_return": 2}, infos={"/action_mask": np.zeros(5)},
        use_action_mask=True,
    )  # fmt: skip
    batch = agent.draw()
    now, then = batch.observations.numpy(), batch.next_observations.numpy()
    assert len(now) == len(batch.weights) == 32
    assert batch.weights.tolist() == [1] * 32
    np.testing.assert_array_equal(now[:, :2], then[:, :2])
    steps = then[:, 2] - now[:, 2]
    assert set(steps) == {1, 2}
    np.testing.assert_array_equal(batch.actions[:, 0], now[:, 2] + 0.5)
    first = 10 * now[:, 1] + now[:, 2] + 1
    np.testing.assert_allclose(batch.rewards, first + np.where(steps == 2, 0.9 * (first + 1), 0), rtol=1e-6)
    ends = then[:, 2] == np.where(now[:, 1] % 2 == 0, 4, 3)
    np.testing.assert_allclose(batch.discounts, np.where(ends, 0, 0.9**steps), rtol=1e-6)
    np.testing.assert_array_equal(batch.next_allowed, np.eye(5, dtype=bool)[then[:, 2].astype(int)])


def test_an_update_reports_the_means_of_its_steps_and_counts_them():
    agent, explorer = practise(DQN, "ConstantReward-v0", 9, module="tests.support.environments")
    taken, step, before = [], agent._step, agent.n_updates
    agent._step = lambda batch: taken.append(step(batch)) or taken[-1]
    agent.memory.store(explorer.update())
    metrics = agent.update()
    assert agent.n_updates == before + len(taken) == before + 8
    for name in ("critic_loss", "q_value"):
        values = [dict(zip(each.names, each.values.tolist(), strict=True))[name] for each, _ in taken]
        assert metrics[name] == pytest.approx(np.mean(values))
    assert metrics["epsilon"] == 0.2
    assert metrics["lr"] == 3e-3


def test_an_update_does_what_is_due_after_each_of_its_steps_before_it_counts_it():
    agent, explorer = practise(DQN, "ConstantReward-v0", 9, module="tests.support.environments")
    noted, agent.after_step = [], lambda: noted.append(agent.n_updates)
    first = agent.n_updates
    agent.memory.store(explorer.update())
    agent.update()
    assert noted == list(range(first, first + 8))


def test_each_step_of_an_update_has_the_learning_rate_of_its_number():
    line = {"start": 0.02, "duration": 100}
    rates = {"lr_critic": describe(Linear, **line), "lr_actor": describe(Linear, **line, end=0.01)}
    agent, explorer = practise(DDPG, "Bandit-v0", 9, **rates)
    noted, step, first = [], agent._step, agent.n_updates
    steps = agent.critic_step, agent.actor_step
    agent._step = lambda *args: noted.append([each._lr.item() for each in steps]) or step(*args)
    agent.memory.store(explorer.update())
    metrics = agent.update()
    expected = [[0.02 - 0.0002 * number, 0.02 - 0.0001 * number] for number in range(first, first + 8)]
    np.testing.assert_allclose(noted, expected, rtol=1e-5)
    assert [metrics["lr_critic"], metrics["lr_actor"]] == pytest.approx(expected[0])


def test_a_metric_that_not_every_step_reports_is_the_mean_of_those_that_do():
    agent, explorer = practise(TD3, "Bandit-v0", 9, policy_delay=3)
    taken, step = [], agent._step
    agent._step = lambda *args: taken.append(step(*args)) or taken[-1]
    agent.memory.store(explorer.update())
    metrics = agent.update()
    reports = [dict(zip(each.names, each.values.tolist(), strict=True)) for each, _ in taken]
    values = [report["actor_loss"] for report in reports if "actor_loss" in report]
    assert 1 < len(values) < len(reports)
    assert metrics["actor_loss"] == pytest.approx(np.mean(values))
    assert metrics["critic_loss"] == pytest.approx(np.mean([report["critic_loss"] for report in reports]))


def test_a_time_limit_does_not_end_the_value_of_a_chain():
    # Reward 1 for ever, cut after 20 steps, gamma 0.9: the value is 10. As if the cut were an end, it would be 6.9.
    agent, _ = practise(
        DQN, "ConstantReward-v0", 150, module="tests.support.environments", target_update_interval=10, lr=1e-2
    )
    assert agent.policy(torch.ones(1, 1)).max().item() == pytest.approx(10, abs=0.7)


def test_warm_start_actions_cover_the_whole_range_evenly():
    agent = practise(TD3, "Bandit-v0", 250, warm_start=2000, replay={"learning_starts": 10**9}, num_workers=2)[0]
    rows = agent.memory.buffer["/masks"][:, :1000, 0]
    actions = ActionScaler(Bandit.action_space)(agent.memory.buffer["/agents/agent/actions"][:, :1000][rows])
    counts, _ = np.histogram(actions, bins=10, range=(2, 5))
    assert counts.sum() == rows.sum() > 900
    assert abs(counts - rows.sum() / 10).max() < 5 * (rows.sum() / 10) ** 0.5
    assert actions.min() < 2.02
    assert actions.max() > 4.98


@pytest.mark.parametrize(("workers", "ratio"), [(1, 1.0), (3, 1.0), (3, 0.1), (2, 2.5), (4, 0.3)])
def test_gradient_steps_follow_the_frames_however_many_workers_collect_them(workers, ratio):
    memory = Memory(chunk_sample_len=1, buffer_chunk_len=200)
    replay = {"batch_size": 2, "learning_starts": 20, "gradient_steps_per_frame": ratio}
    agent = make_agent(DQN, memory=memory, replay=replay)
    shape = (workers, 2, 1)
    chunk = {
        "/observations/agent": np.zeros((workers, 2, 3), np.float32), "/masks": np.ones(shape, bool),
        "/rewards": np.zeros(shape, np.float32), "/terminations": np.zeros(shape, bool),
        "/agents/agent/actions": np.zeros((workers, 2), np.int64),
    }  # fmt: skip
    for _ in range(100):
        memory.store(chunk)
        agent.update()
    starts = -(-20 // workers)  # the cycle with which learning starts
    assert agent.n_updates == int(round((100 - starts + 1) * workers * ratio, 6))


@pytest.mark.parametrize("cls", ALL)
def test_targets_and_predictions_have_the_same_shape(cls):
    module, losses = {DDPG: (ddpg, ddpg), TD3: (td3, ddpg), SAC: (sac, sac), DQN: (dqn, dqn)}[cls]
    agent, batch = make_agent(cls), make_batch(cls, size=7)
    noise = torch.zeros(7, 2)
    if cls is DQN:
        targets = module.critic_targets(batch, agent.policy, agent.policy, True)
        values = agent.policy(batch.observations)[torch.arange(7), batch.actions][None]
        critics, size = agent.policy, lambda error: torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5)
    else:
        extra = {DDPG: (), TD3: (noise,), SAC: (noise, torch.tensor(0.3))}[cls]
        targets = module.critic_targets(batch, agent.policy.actor, agent.policy.critics, *extra)
        values, critics = agent.policy.critics(batch.observations, batch.actions), agent.policy.critics
        size = (lambda error: error**2 / 2) if cls is SAC else (lambda error: error**2)
    assert targets.shape == (7,)
    assert values.shape == ({SAC: 2, TD3: 2}.get(cls, 1), 7)
    by_hand = sum(size(values[c, b] - targets[b]) for c in range(len(values)) for b in range(7)) / 7
    loss, (metrics, errors) = losses.critic_loss(critics, batch, targets)
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(errors, (values - targets).abs().mean(0))
    assert metrics["critic_loss"] is loss
    torch.testing.assert_close(metrics["q_value"], values.mean())


@pytest.mark.parametrize("cls", EVERY)
def test_a_weight_of_zero_takes_a_transition_out_of_the_loss(cls):
    batch = make_batch(cls)
    agents = [make_agent(cls), make_agent(cls)]
    weights = torch.ones(32)
    weights[5] = 0
    other = batch.rewards.clone()
    other[5] = 1e3
    take_step(agents[0], batch._replace(weights=weights))
    take_step(agents[1], batch._replace(weights=weights, rewards=other))
    assert torch.equal(agents[0].critic_step.flat, agents[1].critic_step.flat)


@pytest.mark.parametrize("cls", EVERY)
def test_a_restored_agent_goes_on_exactly(cls):
    first, second = make_agent(cls, seed=1), make_agent(cls, seed=2)
    for seed in range(2):  # TD3's actor has moved, and will not with the next step
        take_step(first, make_batch(cls, seed=seed))
        first.n_updates += 1
    state = first.state_dict()
    second.load_state_dict({key: copy_of(value) for key, value in state.items()})
    metrics = []
    for seed in range(2, 6):
        for agent in (first, second):
            metrics.append(take_step(agent, make_batch(cls, seed=seed))[0])
            agent.n_updates += 1
    assert all(all(each.values()) for each in metrics)
    assert metrics[::2] == metrics[1::2]
    observation = {"/agent": np.ones((4, 3), np.float32)}
    actions = [
        agent.action_generator(observation, None, np.ones(4, bool), False)["actions"] for agent in (first, second)
    ]
    np.testing.assert_array_equal(*actions)
    for ours, theirs in zip(leaves(first.state_dict()), leaves(second.state_dict()), strict=True):
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else np.array_equal(ours, theirs)


def test_a_restored_agent_owes_the_fraction_of_a_step_that_it_owed():
    replay = {"gradient_steps_per_frame": 0.3}
    agent, _ = practise(DQN, "ConstantReward-v0", 9, module="tests.support.environments", replay=replay)
    seen, choice = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2)
    fresh, other = (make_agent(DQN, seen, choice, replay=replay) for _ in range(2))
    other.load_state_dict(copy_of(agent.state_dict()))
    assert other.sampler.state_dict() == agent.sampler.state_dict() != fresh.sampler.state_dict()


def copy_of(value):
    if isinstance(value, dict):
        return {key: copy_of(inner) for key, inner in value.items()}
    return value.clone() if isinstance(value, torch.Tensor) else value


def leaves(state):
    return [leaf for value in state.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])]


@pytest.mark.parametrize("cls", ALL)
def test_a_new_run_begins_with_the_networks_of_another_and_targets_like_them(cls):
    other, agent = make_agent(cls, seed=1), make_agent(cls, seed=2)
    for seed in range(3):
        take_step(other, make_batch(cls, seed=seed))
        other.n_updates += 1
    agent.load_weights(copy_of(other.state_dict()))
    for name, (step, target) in steps_of(agent).items():
        learned, followed = steps_of(other)[name]
        assert torch.equal(step.flat, learned.flat)
        if target is not None:
            assert not torch.equal(followed.flat, learned.flat)
            assert torch.equal(target.flat, step.flat)
    assert not any(
        each["mean"].any() for each in agent.state_dict().values() if isinstance(each, dict) and "mean" in each
    )


def test_an_entropy_coefficient_that_is_tuned_goes_on_from_another_run_and_its_optimizer_does_not():
    other, agent = make_agent(SAC, alpha=0.5), make_agent(SAC, alpha=0.2)
    take_step(other, make_batch(SAC))
    agent.load_weights(copy_of(other.state_dict()))
    learned = other.alpha_step.flat.exp().item()
    assert learned != 0.5
    assert take_step(agent, make_batch(SAC))[0]["alpha"].item() == learned


def test_an_entropy_coefficient_that_is_fixed_is_not_taken_from_another_run():
    other, fixed = make_agent(SAC, alpha=0.5), make_agent(SAC, alpha=0.2, automatic_entropy_tuning=False)
    fixed.load_weights(copy_of(other.state_dict()))
    assert fixed.alpha_step.flat.exp().item() == pytest.approx(0.2)


@pytest.mark.parametrize("cls", EVERY)
def test_deterministic_actions_draw_nothing_and_stay_within_the_range(cls):
    agent = make_agent(cls)
    before = leaves(agent.state_dict())
    observation = {"/agent": np.full((5, 3), 100, np.float32)}
    choices = [agent.action_generator(observation, None, np.ones(5, bool), True)["actions"] for _ in range(2)]
    np.testing.assert_array_equal(*choices)
    for ours, theirs in zip(before, leaves(agent.state_dict()), strict=True):
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else np.array_equal(ours, theirs)
    noisy = agent.action_generator(observation, None, np.ones(5, bool), False)["actions"]
    is_numbered = issubclass(cls, NUMBERED)
    assert noisy.dtype == (np.int64 if is_numbered else np.float32)
    if not is_numbered:
        assert abs(noisy).max() <= 1


@pytest.mark.parametrize(
    "cls", [SAC, *(pytest.param(cls, marks=pytest.mark.learning) for cls in EVERY if cls is not SAC)]
)
@pytest.mark.parametrize("device", DEVICES)
def test_the_compiled_step_equals_the_eager_one(cls, device):
    eager, fast = learn_eager_and_compiled(cls, device, "fp32")
    torch.testing.assert_close(eager.last_metrics, fast.last_metrics, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(eager.critic_step.flat, fast.critic_step.flat, atol=1e-5, rtol=1e-4)


def test_what_a_compiled_step_reads_of_the_agent_besides_tensors_is_frozen_at_the_first_call(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # where no step of an earlier day is found
    rate = describe(Linear, start=0.05, duration=4)  # goes into a tensor, and so into each step
    fast, as_before, changed = (make_agent(DQN, lr=rate, compile=choice) for choice in ("on", "off", "off"))
    for seed in range(3):
        for agent in (fast, as_before, changed):
            take_step(agent, make_batch(DQN, seed=seed))
            agent.n_updates += 1
        fast.is_double = changed.is_double = False
    torch.testing.assert_close(fast.critic_step.flat, as_before.critic_step.flat, atol=1e-5, rtol=1e-4)
    assert (changed.critic_step.flat - as_before.critic_step.flat).abs().max() > 1e-2


@pytest.mark.learning
@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("device", DEVICES)
def test_the_compiled_step_in_bfloat16_is_near_the_eager_one(cls, device):
    # It rounds less often; Adam turns what that changes of a tiny gradient into another whole step, but of few.
    eager, fast = learn_eager_and_compiled(cls, device, "bf16")
    torch.testing.assert_close(eager.last_metrics, fast.last_metrics, atol=0.01, rtol=0.01)
    assert (eager.critic_step.flat - fast.critic_step.flat).norm() < 0.01 * eager.critic_step.flat.norm()


def learn_eager_and_compiled(cls, device, precision):
    agents = [make_agent(cls, device=device, precision=precision, compile=choice) for choice in ("off", "on")]
    for agent in agents:
        for seed in range(4):
            agent.last_metrics, _ = take_step(agent, make_batch(cls, seed=seed, device=device))
            agent.n_updates += 1
    return agents


@pytest.mark.parametrize("cls", ALL)
def test_a_step_in_bfloat16_is_nearly_the_one_in_single_precision(cls):
    exact, rough = (make_agent(cls, precision=precision) for precision in ("fp32", "bf16"))
    (metrics, errors), (rough_metrics, rough_errors) = (take_step(agent, make_batch(cls)) for agent in (exact, rough))
    assert metrics != rough_metrics
    torch.testing.assert_close(rough_metrics, metrics, atol=0.01, rtol=0.01)
    torch.testing.assert_close(rough_errors, errors, atol=0.02, rtol=0.02)
    assert rough.critic_step.flat.dtype == torch.float32


@pytest.mark.parametrize("cls", ALL)
def test_no_gradient_step_waits_for_the_device(cls):
    agent, batch = make_agent(cls), make_batch(cls)
    before = agent.critic_step.flat.clone()
    with NeverWaiting():
        for _ in range(2):
            take_step(agent, batch)
            agent.n_updates += 1
        with pytest.raises(AssertionError, match="waits for the device"):
            batch.rewards.sum().item()
    assert not torch.equal(agent.critic_step.flat, before)


@pytest.mark.parametrize("cls", ALL)
def test_a_recorded_step_is_the_step_itself(cls, monkeypatch):
    """Recorded as on CUDA, but for the device's own graph, which one place for the results stands for."""
    monkeypatch.setattr(compiling, "_compile", lambda function, *_: function)
    monkeypatch.setattr(compiling, "_record", into_one_place)
    plain, recorded = make_agent(cls), make_agent(cls)
    recorded._step = compiling.compiled(recorded.gradient_step, torch.device("cuda"))
    came = []
    for seed in range(6):
        for agent in (plain, recorded):
            came.append(take_step(agent, make_batch(cls, seed=seed)))
            agent.n_updates += 1
    for ours, theirs in zip(came[::2], came[1::2], strict=True):
        assert ours[0] == theirs[0]
        assert torch.equal(ours[1], theirs[1])
    assert torch.equal(plain.critic_step.flat, recorded.critic_step.flat)


def into_one_place(function):
    """The function with its results in the same memory each time."""
    place = []

    def run():
        results = function()
        leaves, structure = tree_flatten(results)
        place.extend(
            torch.empty_like(each) if isinstance(each, torch.Tensor) else each for each in leaves[len(place) :]
        )
        for own, each in zip(place, leaves, strict=True):
            if isinstance(own, torch.Tensor):
                own.copy_(each)
        return tree_unflatten(place, structure)

    return run


@pytest.mark.parametrize("cls", ALL)
def test_prioritised_replay_learns_which_transitions_surprise(cls):
    name, module = (
        ("ConstantReward-v0", "tests.support.environments") if cls is DQN else ("Bandit-v0", "tests.support.replay")
    )
    agent, _ = practise(cls, name, 20, module=module, replay={"priorities": describe(Priorities)})
    leaves = agent.sampler.priorities["train"].state_dict()["leaves"]
    assert agent.n_updates > 50
    assert len(np.unique(leaves)) > 10


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_metric():
    agent, _ = practise(TD3, "Bandit-v0", 9)
    agent.memory.buffer["/rewards"][:] = np.nan
    agent.memory.store(agent.memory.copy_chunks(8, 9))
    with pytest.raises(NonFiniteError, match="critic_loss of agent 'agent' is nan in update"):
        agent.update()


@pytest.mark.parametrize(
    ("cls", "actions", "message"),
    [(SAC, CHOICE, "needs actions in a bounded Box"), (DQN, UNIT, "ActionValues needs Discrete actions")],
)
def test_an_action_space_that_does_not_fit_is_refused(cls, actions, message):
    with pytest.raises(UsageError, match=message):
        make_agent(cls, LINE, actions)


def test_initial_weights_depend_on_the_seed_alone():
    first, second, other = (make_agent(SAC, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.critic_step.flat, second.critic_step.flat)
    assert not torch.equal(first.critic_step.flat, other.critic_step.flat)
    assert isinstance(first.policy, PolicyBase)
