"""DQN and SAC that remember: what they learn from is what acting saw, and rows that do not count change nothing."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

from digideep.agent.dqn import DQN
from digideep.agent.sac import SAC
from digideep.main import main
from digideep.memory.replay import Replay
from digideep.memory.sequences import SequenceReplay
from digideep.parameters.component import describe
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.policy.recurrent import RecurrentActionValues, RecurrentEncoder, RecurrentGaussianPolicy, Sequences
from digideep.post.export import export
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.support.helpers import ROOT, tiny
from tests.support.replay import make_agent, practise, take_step

torch.set_num_threads(1)  # several are many times slower on networks of this size

POLICIES = {DQN: RecurrentActionValues, SAC: RecurrentGaussianPolicy}
GAMES = {DQN: "Recall-v0", SAC: "Dial-v0"}  # episodes of 21 and of 9 steps
BOTH = pytest.mark.parametrize("cls", [DQN, SAC], ids=["dqn", "sac"])


def sampler(burn_in=3, sequence_length=4, **parameters):
    parameters = {"batch_size": 16, "learning_starts": 16, "burn_in": burn_in} | parameters
    return describe(SequenceReplay, sequence_length=sequence_length, **parameters)


def practised(cls, cycles=20, cell="gru", replay=None, **changes):
    """An agent that remembers, and its explorer."""
    policy = describe(POLICIES[cls], cell=cell, core_size=5, hidden_sizes=[16])
    module = "tests.support.environments"
    return practise(cls, GAMES[cls], cycles, module=module, policy=policy, sampler=replay or sampler(), **changes)


# ------------------------------------------------------------------ the walk along sequences


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_burn_in_gets_no_gradient_and_all_rows_after_it_do(cell):
    space, generator = gym.spaces.Box(-1, 1, (3,), np.float32), torch.Generator().manual_seed(0)
    encoder = RecurrentEncoder(space, generator, cell=cell, core_size=5)
    before, rows = (torch.randn(2 * n, 3, generator=generator, requires_grad=True) for n in (3, 4))
    states = torch.randn(2, encoder.state_size, generator=generator, requires_grad=True)
    last = torch.tensor([3, 7])  # of both sequences
    features = encoder(Sequences(before, rows, states, torch.ones(2, 7), last))
    features.sum().backward()
    assert before.grad is states.grad is None
    assert (rows.grad != 0).all()
    # The burn-in counts all the same.
    other = encoder(Sequences(before + 1, rows, states, torch.ones(2, 7), last))
    assert ((other - features).abs() > 1e-5).all()


@BOTH
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("burn_in", [0, 3])
@pytest.mark.parametrize("n", [1, 2])
def test_what_is_learned_from_is_what_acting_saw_at_these_rows_and_those_to_bootstrap_from(cls, cell, burn_in, n):
    replay = sampler(burn_in, batch_size=64, learning_starts=10**6, n_step_return=n)
    agent, _ = practised(cls, 30, cell=cell, replay=replay)
    info = {**agent.sampler.info, **agent.sampler_info}
    indices = agent.sampler._draw_sequences(agent.memory, info)
    chunk = agent.sampler._gather(indices, info)
    assert (chunk["/rows_2"] > chunk["/rows"]).all()
    for key, seen in zip(("/rows", "/rows_2"), agent._sequences(chunk), strict=True):
        sequences, steps = np.divmod(chunk[key], 4 + n)
        workers, rows = indices.workers[sequences], indices.starts[sequences] + steps  # the memory has not gone round
        state, observations = (
            torch.tensor(agent.memory.buffer[key][workers, rows])
            for key in ("/agents/agent/hidden_state", "/observations/agent")
        )
        assert state.shape == (64, agent.policy.state_size)
        assert state.any()
        with torch.no_grad():
            acted = agent.policy.mode(observations, state=state)
            if cls is DQN:
                learned = agent.policy(seen).amax(-1)
            else:
                actions = agent.policy.actor.act(seen, deterministic=True)
                learned = agent.policy.critics(seen, actions).amin(0)
                torch.testing.assert_close(actions, acted.actions, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(learned, acted.value, atol=1e-5, rtol=1e-5)


def scrambled(batch):
    """Put other numbers where nothing counts: before an episode's first row, and after its last one."""
    now, after = batch.observations, batch.next_observations
    counts = torch.zeros(len(now.observations), dtype=torch.bool)
    counts[torch.cat([now.rows, after.rows])] = True
    columns = torch.arange(now.keep.shape[1])
    firsts = torch.where(now.keep == 0, columns, 0).amax(1, keepdim=True)
    is_burned = (columns >= firsts)[:, : len(now.before) // len(now.states)].reshape(-1)
    assert not counts.all()
    assert not is_burned.all()
    observations = torch.where(counts[:, None], now.observations, 1e3)
    before = torch.where(is_burned[:, None], now.before, 1e3)
    other = {"observations": observations, "before": before}
    return batch._replace(observations=now._replace(**other), next_observations=after._replace(**other))


@BOTH
def test_rows_outside_of_the_episode_count_nowhere(cls):
    agents = [practised(cls, cycles=1)[0] for _ in range(2)]
    source, _ = practised(cls, num_workers=4, replay=sampler(3, 32, batch_size=256, learning_starts=10**6))
    batch = source.draw()
    results = [take_step(agent, each) for agent, each in zip(agents, (batch, scrambled(batch)), strict=True)]
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(agents[0].critic_step.flat, agents[1].critic_step.flat)


@BOTH
def test_the_compiled_step_equals_the_eager_one(cls):
    # Tolerance: rounding of float32, and what a few Adam steps make of it.
    agents = [practised(cls, cycles=0, compile=choice)[0] for choice in ("off", "on")]
    source, _ = practised(cls, replay=sampler(batch_size=16, learning_starts=10**6))
    for _ in range(4):
        batch = source.draw()
        (eager, errors), (fast, fast_errors) = (take_step(agent, batch) for agent in agents)
        torch.testing.assert_close(eager, fast, atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(errors, fast_errors, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(*(agent.critic_step.flat for agent in agents), atol=2e-5, rtol=2e-4)


@BOTH
def test_actor_and_critics_learn_by_cores_of_their_own_and_targets_follow(cls):
    agent, _ = practised(cls, cycles=0)
    before = {name: parameter.clone() for name, parameter in agent.policy.named_parameters()}
    old = agent.critic_step.flat.clone()
    target, share = (agent.target_critics, 0.05) if cls is SAC else (agent.target_critic, 0.0)
    source, _ = practised(cls, replay=sampler(batch_size=128, learning_starts=10**6))
    take_step(agent, source.draw())
    moved = {name: bool((parameter != before[name]).any()) for name, parameter in agent.policy.named_parameters()}
    assert all(moved.values()), moved
    cores = {name.partition("core")[0] for name in moved if "core" in name}
    assert cores == ({"actor.encoder.", "critics.encoder."} if cls is SAC else {"encoder."})
    torch.testing.assert_close(target.flat, torch.lerp(old, agent.critic_step.flat, share))


# ------------------------------------------------------------------ the whole


def test_a_policy_and_a_sampler_that_do_not_fit_are_refused():
    plain = {DQN: ActionValues, SAC: SquashedGaussianPolicy}
    for cls, policy in POLICIES.items():
        with pytest.raises(UsageError, match=r"learns from sequences, which Replay .*\.SequenceReplay"):
            make_agent(cls, policy=describe(policy, hidden_sizes=[8]), sampler=describe(Replay, batch_size=4))
        with pytest.raises(UsageError, match=r"SequenceReplay delivers sequences, and .* does not remember"):
            make_agent(cls, policy=describe(plain[cls], hidden_sizes=[8]), sampler=sampler())


SMALL = {"recurrent": True, "core_size": 8, "hidden_sizes": [8], "batch_size": 16, "sequence_length": 8, "burn_in": 4,
         "n_steps": 4, "warm_start": 20, "memory_size_in_chunks": 12, "epoch_size": 10, "test_interval": 1,
         "gradient_steps_per_frame": 0.25}  # fmt: skip
RUNS = {
    "dqn": ("dqn_classic", {"model_name": "Recall-v0", "from_module": "tests.support.environments",
                            "env_kwargs": {"delay": 10}, "n_step_return": 2, "cell": "lstm"}),
    "sac": ("sac_classic", {}),
}  # fmt: skip


def arguments(name, **changes):
    """Of a run that takes a second, with a memory that goes round; it ends amid episodes."""
    params, own = RUNS[name]
    return ["--params", str(ROOT / f"params/{params}.py"), "--cpanel", tiny(**SMALL | own | changes)]


@pytest.mark.usefixtures("forking_verify")
@pytest.mark.parametrize("num_processes", [0, 2])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_remembers_resumes_exactly_within_an_episode(name, num_processes, capfd):
    changes = {"num_processes": num_processes, "overlap": num_processes > 0}
    argv = [*arguments(name, **changes), "--verify-resume", "2", "--device", "cpu"]
    assert main(argv) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_remembers_plays_is_used_from_outside_and_exported(name, tmp_path, capsys):
    assert main([*arguments(name), "--session-path", str(tmp_path), "--session-name", "s", "--log-level", "3"]) == 0
    capsys.readouterr()
    play = ["--play", "--load-checkpoint", str(tmp_path / "s"), "--episodes", "2", "--json", "--seed", "5"]
    assert main([*play, "--render", "none"]) == 0
    assert len(json.loads(capsys.readouterr().out)["returns"]) == 2
    loader = Loader(tmp_path / "s")
    policy, environment = loader.policy(), loader.environment()
    assert policy.hidden_state.shape == (1, policy.agent.policy.state_size)
    observation, _ = environment.reset(seed=1)
    assert isinstance(policy.value(observation), float)
    policy(observation)
    assert policy.hidden_state.any()
    policy.reset()
    assert not policy.hidden_state.any()
    environment.close()
    exported = export(tmp_path / "s", "torchscript")[0]
    assert exported.difference < 1e-5


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dqn", {"sequence_length": 0}, "sequence_length must be an integer in [1, 100000], got 0"),
        ("sac", {"burn_in": -1}, "burn_in must be an integer in [0, 100000], got -1"),
        ("dqn", {"batch_size": 20}, "batch_size must be a multiple of sequence_length=8"),
        ("dqn", {"prioritized": True}, "Leave prioritized out"),
        ("dqn", {"memory_size_in_chunks": 3}, "must hold at least 15: a sequence with burn_in=4, sequence_length=8"),
        ("sac", {"cell": "rnn"}, "cell must be one of gru, lstm"),
        ("sac", {"core_size": 0}, "core_size must be an integer of at least 1, got 0"),
    ],
)
def test_a_run_that_cannot_remember_is_refused_in_one_line(name, changes, message, capsys, tmp_path):
    place = ["--session-path", str(tmp_path), "--session-name", "s"]
    assert main([*arguments(name, **changes), *place]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
