"""PPO with a policy that remembers: sequences, the first ratio, values along the chunk, and what is refused."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

from digideep.agent.ppo import PPO
from digideep.agent.trajectories import Trajectories, shuffled_minibatches
from digideep.learning.optimizers import Adam
from digideep.main import main
from digideep.memory.generic import Memory
from digideep.memory.sampler import NewestChunk, NewestSequences, add_sequence_rows
from digideep.parameters.component import describe
from digideep.policy.stochastic import RecurrentPolicy
from digideep.post.export import export
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.agent.test_ppo import COEFFICIENTS, Fixed, judge, make_ppo, trained_on
from tests.support.helpers import CLASSIC, ROOT, make_context, tiny

torch.set_num_threads(1)  # several are many times slower on networks of this size


def recurrent(cell="gru", sequence_length=None, **policy) -> dict:
    """Parameters of a PPO that remembers."""
    return {
        "policy": describe(RecurrentPolicy, cell=cell, core_size=8, hidden_sizes=[16], **policy),
        "sampler": describe(NewestSequences, sequence_length=sequence_length),
    }


# ------------------------------------------------------------------ sequences


def test_a_chunk_is_cut_into_sequences_and_the_last_piece_filled_up_with_the_half_step():
    chunk = {"/masks": np.ones((2, 6, 1), bool)}
    rows = add_sequence_rows(chunk, {"sequence_length": 3})["/sequences"]
    assert rows.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]  # 5 and 11 are half-steps
    whole = add_sequence_rows(chunk, {"sequence_length": None})["/sequences"]
    assert whole.tolist() == [[0, 1, 2, 3, 4], [6, 7, 8, 9, 10]]
    assert add_sequence_rows(chunk, {"sequence_length": 99})["/sequences"].tolist() == whole.tolist()
    assert add_sequence_rows(chunk, {"sequence_length": 2})["/sequences"][2].tolist() == [4, 5]


def test_minibatches_are_of_whole_sequences():
    sequences = np.arange(12).reshape(4, 3)
    minibatches = shuffled_minibatches(sequences, 3, np.random.default_rng(0))
    assert minibatches.shape == (2, 3, 3)
    flat = minibatches.reshape(-1, 3)
    assert sorted(flat[:4].tolist()) == sequences.tolist()
    assert flat[4:].tolist() == flat[:2].tolist()


# ------------------------------------------------------------------ the loss


def test_rows_without_a_transition_count_in_no_part_of_the_loss():
    # As in test_ppo: ratios 2 and 0.5, advantages 1 and -1; the third row is a half-step with absurd numbers.
    policy = Fixed([float(np.log(2.0)), float(np.log(0.5)), 500.0], [1.0, 3.0, 1e6], [1.0, 5.0, -1e6])
    other = Fixed(*(values.detach()[:2].tolist() for values in policy.outputs))
    columns = {"log_p": [0.0] * 3, "values": [0.0] * 3, "advantages": [1.0, -1.0, 0.0], "returns": [2.0, 2.0, 0.0]}
    tensors = {name: torch.tensor(column) for name, column in columns.items()}
    data = Trajectories(torch.zeros(3, 1), torch.zeros(3, 1), **tensors,
                        states=torch.zeros(3, 4), masks=torch.tensor([True, True, False]))  # fmt: skip
    whole = Trajectories(torch.zeros(2, 1), torch.zeros(2, 1), **{name: t[:2] for name, t in tensors.items()})
    for normalize in (False, True):
        coefficients = COEFFICIENTS | {"normalize_advantages": normalize}
        loss, metrics = judge(policy, data, torch.arange(3)[None], **coefficients)
        expected, figures = judge(other, whole, torch.arange(2), **coefficients)
        torch.testing.assert_close(loss, expected)
        assert metrics == pytest.approx(figures)
        loss.backward()
        assert [float(output.grad[2]) for output in policy.outputs] == [0, 0, 0]


def test_a_mean_and_a_standard_deviation_over_some_rows_are_those_of_these_rows():
    values, masks = torch.tensor([1.0, 7.0, 2.0, 4.0]), torch.tensor([True, False, True, True])
    batch = Trajectories(*[torch.zeros(4)] * 6, masks=masks)
    torch.testing.assert_close(batch.standard_deviation(values), values[masks].std())
    torch.testing.assert_close(batch.mean(values), values[masks].mean())
    nothing = batch._replace(masks=torch.zeros(4, dtype=torch.bool))
    assert (nothing.mean(values), nothing.standard_deviation(values)) == (0, 0)


@pytest.mark.parametrize("cell", ["gru", pytest.param("lstm", marks=pytest.mark.learning)])  # 15 s each
def test_the_compiled_step_equals_the_eager_one(cell):
    # Tolerance: the gradients of 20 Adam steps differ by rounding only.
    rows = torch.arange(12).view(2, 6)
    generator = torch.Generator().manual_seed(3)
    masks = torch.ones(12, dtype=torch.bool)
    masks[[3, 11]] = False
    randn = {name: torch.randn(12, generator=generator) for name in ("log_p", "values", "advantages", "returns")}
    observations = torch.randn(12, 3, generator=generator)
    actions = torch.randint(2, (12,), generator=generator)
    spaces = gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2)
    network = describe(RecurrentPolicy, cell=cell, core_size=8, hidden_sizes=[8])
    agents = [
        make_ppo(*spaces, None, **COEFFICIENTS, policy=network, sampler=describe(NewestSequences, sequence_length=6),
                 lr=1e-3, optimizer=describe(Adam, eps=1e-5), compile=choice)
        for choice in ("off", "on")
    ]  # fmt: skip
    states = torch.randn(12, agents[0].policy.state_size, generator=generator)
    data = Trajectories(observations, actions, **randn, states=states, masks=masks)
    for agent in agents:
        agent.step.set_lr(1e-3)
    for _ in range(20):
        eager, fast = (agent._step(data, rows, {"clip_param": torch.tensor(0.2)})[0] for agent in agents)
        assert eager.names == fast.names
        torch.testing.assert_close(eager.values, fast.values, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(*(agent.step.flat for agent in agents), atol=2e-6, rtol=1e-5)


# ------------------------------------------------------------------ the agent


@pytest.mark.parametrize(("name", "limit"), [("Noise-v0", 30), ("Counter-v0", 9)])
@pytest.mark.parametrize(("cell", "sequence_length"), [("gru", None), ("lstm", 10), ("gru", 5)])
def test_the_ratio_is_one_before_the_first_step_also_within_episodes(name, limit, cell, sequence_length):
    agent, explorer, memory = trained_on(
        name, n_steps=24, limit=limit, num_workers=4, lr=0.01, **recurrent(cell, sequence_length)
    )
    seen, divergences = [], []
    original = agent.step.loss

    def watched(policy, data, rows, scheduled):
        states, masks = data.states[rows[:, 0]], data.masks[rows]
        batch = data.take(rows.flatten())
        log_p = policy(batch.observations, batch.actions, state=states, masks=masks).log_p
        seen.append((log_p - batch.log_p).exp()[batch.masks].detach())
        loss, by_products = original(policy, data, rows, scheduled)
        divergences.append(by_products[1].item())
        return loss, by_products

    agent.step.loss = watched
    for _ in range(3):  # the second and the third chunk start within an episode
        seen.clear()
        divergences.clear()
        chunk = explorer.update()
        memory.store(chunk)
        agent.update()
        torch.testing.assert_close(seen[0], torch.ones_like(seen[0]), atol=2e-6, rtol=0)
        assert (seen[-1] != 1).any()
        assert abs(divergences[0]) < 1e-6 < divergences[-1]
    states, masks = chunk["/agents/agent/hidden_state"], chunk["/masks"][..., 0]
    assert states[:, 0].any(), "the third chunk begins with a memory of the second"
    after = states[:, 1:-1][~masks[:, :-2]]
    assert len(after), "episodes ended"
    assert not after.any(), "the state is zero after a half-step"
    assert states[:, 1:-1][masks[:, :-2]].any(-1).all()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_values_along_the_chunk_are_those_of_acting_the_last_row_included(cell):
    agent, explorer, memory = trained_on("Counter-v0", n_steps=8, limit=5, **recurrent(cell, 4))
    for _ in range(3):
        memory.store(explorer.update())
        if _ < 2:
            agent.update()
    chunk = agent.sampler(memory, agent.sampler_info)
    values = agent._tensors(chunk).values.view(2, 9)
    states, observations = chunk["/agents/agent/hidden_state"], torch.tensor(chunk["/observations/agent"])
    one = torch.ones(2, 1, dtype=torch.bool)
    with torch.inference_mode():
        for t in range(8):
            expected = agent.policy.value(observations[:, t], state=torch.tensor(states[:, t]), masks=one)
            torch.testing.assert_close(values[:, t], expected, atol=1e-6, rtol=1e-6)
        bootstrap = agent.policy.value(
            observations[:, 8], state=torch.tensor(explorer.seats["agent"].hidden_state), masks=one
        )
    torch.testing.assert_close(values[:, 8], bootstrap, atol=1e-6, rtol=1e-6)


def test_a_restored_agent_learns_on_exactly():
    agent, explorer, memory = trained_on("Noise-v0", n_steps=16, **recurrent("lstm"))
    for _ in range(3):
        memory.store(explorer.update())
        agent.update()
    other, _, _ = trained_on("Noise-v0", n_steps=16, **recurrent("lstm"))
    other.memory = memory
    state = agent.state_dict()
    other.load_state_dict({**state, "policy": {k: v.clone() for k, v in state["policy"].items()},
                           "optimizer": {k: v.clone() for k, v in state["optimizer"].items()}})  # fmt: skip
    agent.update()
    other.update()
    assert torch.equal(agent.step.flat, other.step.flat)


def test_what_a_recurrent_policy_needs_is_said():
    spaces = (gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2))
    common = {"gamma": 0.9, "gae_lambda": 0.9, "n_update": 1, "num_mini_batches": 1, "lr": 1e-3, "clip_param": 0.2}
    with pytest.raises(UsageError, match=r"Give it the sampler .*\.NewestSequences"):
        PPO(make_context(*spaces), **common, policy=recurrent()["policy"], sampler=describe(NewestChunk))
    with pytest.raises(UsageError, match="sequence_length must be an integer of at least 1, got 0"):
        PPO(make_context(*spaces, Memory(chunk_sample_len=4)), **common, **recurrent(sequence_length=0))


@pytest.mark.parametrize(
    ("params", "panel", "message"),
    [
        ("td3_mujoco", {"recurrent": True}, "must be false with this method"),
        ("sacv1_classic", {"recurrent": True}, "must be false with this method"),
        ("ppo_classic", {"recurrent": True, "num_workers": 2}, "2 workers x 1 = 2, got 4. Lower it"),
        ("ppo_classic", {"recurrent": True, "cell": "rnn"}, "cell must be one of gru, lstm"),
    ],
)
def test_a_run_that_cannot_be_recurrent_is_refused_in_one_line(params, panel, message, capsys):
    assert main(["--params", str(ROOT / f"params/{params}.py"), "--cpanel", json.dumps(panel), "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


# ------------------------------------------------------------------ the whole


RECALL = {"model_name": "Recall-v0", "from_module": "tests.support.environments", "recurrent": True, "lr": 1e-3}


def test_a_recurrent_run_tests_plays_and_is_used_from_outside(tmp_path, capsys):
    panel = tiny(**RECALL, env_kwargs={"delay": 3}, num_workers=4, cell="lstm", sequence_length=8)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "s"]
    assert main([*argv, "--log-level", "3"]) == 0
    capsys.readouterr()
    assert main(["--play", "--load-checkpoint", str(tmp_path / "s"), "--episodes", "8", "--json", "--seed", "5"]) == 0
    played = json.loads(capsys.readouterr().out)["returns"]

    loader = Loader(tmp_path / "s")
    policy, environment = loader.policy(), loader.environment()
    assert policy.hidden_state.shape == (1, policy.agent.policy.state_size)
    observation, _ = environment.reset(seed=1)
    policy(observation)
    assert policy.hidden_state.any()
    policy.reset()
    assert not policy.hidden_state.any()
    environment.close()
    assert len(played) == 8
    assert export(tmp_path / "s", "torchscript")[0].difference == 0


@pytest.mark.usefixtures("forking_verify")
def test_a_recurrent_run_resumes_exactly_within_an_episode(capfd):
    panel = tiny(
        **RECALL, env_kwargs={"delay": 11}, num_workers=4, epoch_size=10, n_update=2, cell="lstm",
        target_return=-1e9,  # a run that this finished could not be stopped before its end
    )  # fmt: skip
    assert main(["--params", CLASSIC, "--verify-resume", "2", "--device", "cpu", "--cpanel", panel]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out
