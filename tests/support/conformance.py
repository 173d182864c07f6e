"""What every backend has to keep to with every method: inherit `Conformance`, list cases, and they are all checked.

A case is an environment, a method and a backend. The method's agent steers the environment through an Explorer, and the
chunk that comes out is compared with what docs/data.md promises. A new backend is a line in `BACKENDS`.
"""

import itertools
import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

from digideep.agent.base import AgentBase
from digideep.agent.context import AgentContext
from digideep.environment.explorer import Chunk, Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.spaces import ActionScaler, observation_reader
from digideep.memory.generic import Memory
from digideep.parameters.component import build
from digideep.parameters.control_panel import load_params
from digideep.telemetry.profiler import Profiler
from digideep.utility.seeding import make_generator

# Parameters of the Explorer for each way to step environments.
BACKENDS: dict[str, dict[str, Any]] = {
    "here": {},
    "processes": {"num_processes": 2},
    "ale": {"backend": "ale"},
    "envpool": {"backend": "envpool"},
}
NATIVE = ("ale", "envpool")  # their environments cannot be looked into, nor their episodes re-lived
_SMALL = {
    "hidden_sizes": [8, 8], "num_mini_batches": 2, "n_update": 1, "batch_size": 16, "warm_start": 0,
    "compile": "off", "epoch_size": 1, "number_epochs": 2, "memory_size_in_chunks": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One combination.

    Attributes:
        name: of the environment.
        method: "ppo", "sac" or "dqn".
        backend: a key of `BACKENDS`.
        limit: time limit in steps; None leaves the environment's own, which no case here reaches.
        terminates: whether terminal states are expected.
        n_steps: of each of the three workers.
        spec: further attributes of the EnvironmentSpec.
        params: the parameter file whose agent it is; None for params/<method>_classic.py.
    """

    name: str
    method: str
    backend: str = "here"
    limit: int | None = 12
    terminates: bool = False
    n_steps: int = 30
    spec: dict[str, Any] = field(default_factory=dict, hash=False)
    params: str | None = None

    def __str__(self) -> str:
        return f"{self.name.split('/')[-1]}-{self.method}-{self.backend}"


@dataclass
class Outcome:
    """What a case brought: a chunk, the same once more, one under another seed, and what the agent learned from it."""

    spec: EnvironmentSpec
    info: Any
    chunk: Chunk
    again: Chunk
    other: Chunk
    episodes: list
    metrics: dict[str, float]


@cache
def outcome(case: Case) -> Outcome:
    """Run a case: three times the same number of steps."""
    torch.set_num_threads(1)
    spec = EnvironmentSpec(name=case.name, max_episode_steps=case.limit, **case.spec)
    info = inspect_environment(spec)
    module = load_params(case.params or f"params.{case.method}_classic")
    small = {key: value for key, value in _SMALL.items() if key in module.cpanel}
    tree = module.gen_params(module.cpanel | small | {"num_workers": 3, "n_steps": case.n_steps})
    memory = Memory(chunk_sample_len=case.n_steps, buffer_chunk_len=1)
    context = AgentContext(
        "agent", memory, info.observation_spaces, info.agent_action_space, torch.device("cpu"), 0, Profiler()
    )
    agent = build(tree["agents"]["agent"] | {"observation_path": None}, AgentBase, context=context)
    explorer = Explorer(
        "train", {"agent": agent}, spec, info, 0, Profiler(), num_workers=3, n_steps=case.n_steps,
        **BACKENDS[case.backend],
    )  # fmt: skip
    try:
        start, chunks, episodes = agent.state_dict(), [], []
        for purpose in ("first", "first", "second"):
            agent.load_state_dict(start)
            explorer.reseed(purpose)
            chunks.append(explorer.update())
            episodes.append(explorer.take_episodes())
    finally:
        explorer.close()
    memory.store(chunks[0])
    return Outcome(spec, info, *chunks, episodes[0], agent.update())


class Conformance:
    """The promises. A subclass parametrises `case` and may add environments of its own."""

    def test_arrays_have_the_shapes_and_types_that_are_declared(self, case):
        ran = outcome(case)
        shape = (3, case.n_steps + 1)
        for path, space in ran.info.observation_spaces.items():
            array = ran.chunk[f"/observations{path}"]
            assert array.shape == (*shape, *space.shape)
            assert array.dtype == space.dtype
        for key, dtype in (("/masks", np.bool_), ("/rewards", np.float32), ("/terminations", np.bool_)):
            assert ran.chunk[key].shape == (*shape, 1)
            assert ran.chunk[key].dtype == dtype
        actions, space = ran.chunk["/agents/agent/actions"], ran.info.agent_action_space
        assert actions.shape == (*shape, *space.shape)
        assert actions.dtype == space.dtype
        assert all(np.isfinite(array).all() for array in ran.chunk.values())

    def test_a_step_after_an_end_begins_an_episode_and_is_no_transition(self, case):
        masks, rewards, terminations = (outcome(case).chunk[key][..., 0] for key in _FLAGS)
        ends = ~masks[:, :-1]
        assert ends.any(), "no episode ended: the case shows nothing"
        assert (rewards[:, :-1][ends] == 0).all()
        assert not terminations[:, :-1][ends].any()
        assert masks[:, 1:][ends].all(), "an episode has at least one step"
        assert masks[:, 0].all()

    def test_a_time_limit_ends_an_episode_and_is_no_termination(self, case):
        masks, _, terminations = (outcome(case).chunk[key][..., 0] for key in _FLAGS)
        lengths, endings = [], []
        for worker in range(3):
            begin = 0
            for row in np.flatnonzero(~masks[worker]).tolist():
                lengths.append(row - begin)
                endings.append(bool(terminations[worker, row - 1]))
                begin = row + 1
        limit = case.limit or math.inf
        assert all(
            length == limit or (ended and length < limit) for length, ended in zip(lengths, endings, strict=True)
        )
        if case.limit and not case.terminates:
            assert set(lengths) == {case.limit}

    def test_a_termination_ends_its_episode(self, case):
        masks, _, terminations = (outcome(case).chunk[key][..., 0] for key in _FLAGS)
        assert terminations.any() == case.terminates
        assert not masks[:, 1:][terminations[:, :-1]].any()

    def test_a_seed_repeats_everything_and_another_one_does_not(self, case):
        ran = outcome(case)
        for key, array in ran.chunk.items():
            np.testing.assert_array_equal(array, ran.again[key], err_msg=key)
        # rewards and observations of the first steps: a game can begin the same under all seeds
        assert any(not np.array_equal(ran.chunk[key], ran.other[key]) for key in ran.chunk)
        assert any(not np.array_equal(array[0], array[1]) for array in ran.chunk.values()), "two workers are twins"

    def test_every_row_is_what_the_environment_itself_does(self, case):
        ran = outcome(case)
        masks = ran.chunk["/masks"][..., 0]
        if case.backend in NATIVE or ran.spec.steps_per_seed:  # nobody else can repeat them: their frames overlap
            frames, moved = ran.chunk["/observations/agent"], masks[:, :-1]
            np.testing.assert_array_equal(frames[:, 1:, :-1][moved], frames[:, :-1, 1:][moved])
            return
        for rank in range(3):
            environment, edge = make_environment(ran.spec), ActionScaler(ran.info.action_space)
            generator = make_generator(0, "environment", "train", "first", rank)
            readers = {p: observation_reader(environment.observation_space, p) for p in ran.info.observation_spaces}
            observation, _ = environment.reset(seed=int(generator.integers(2**31)))
            for row in range(case.n_steps + 1):
                for path, read in readers.items():
                    seen = ran.chunk[f"/observations{path}"][rank, row]
                    np.testing.assert_array_equal(np.asarray(read(observation)).astype(seen.dtype), seen)
                if row == case.n_steps:
                    break
                if not masks[rank, row]:
                    observation, _ = environment.reset(seed=int(generator.integers(2**31)))
                    continue
                action = edge(ran.chunk["/agents/agent/actions"][rank, row][None])[0]
                if action.ndim:
                    action = action.astype(ran.info.action_space.dtype)
                observation, reward, terminated, truncated, _ = environment.step(action)
                assert ran.chunk["/rewards"][rank, row, 0] == np.float32(reward)
                assert ran.chunk["/terminations"][rank, row, 0] == terminated
                assert masks[rank, row + 1] != (terminated or truncated)
            environment.close()

    def test_returns_are_the_sums_of_rewards(self, case):
        ran = outcome(case)
        masks, rewards, _ = (ran.chunk[key][..., 0] for key in _FLAGS)
        expected = []
        for worker in range(3):
            bounds = [-1, *np.flatnonzero(~masks[worker]).tolist()]
            expected += [(worker, float(rewards[worker, a + 1 : b].sum())) for a, b in itertools.pairwise(bounds)]
        got = sorted((episode.worker, episode.episode_return) for episode in ran.episodes)
        assert len(got) == len(expected)
        np.testing.assert_allclose(got, sorted(expected), rtol=1e-4, atol=1e-4)

    def test_the_method_learns_from_it(self, case):
        metrics = outcome(case).metrics
        assert metrics
        assert all(math.isfinite(value) for value in metrics.values())


_FLAGS = ("/masks", "/rewards", "/terminations")
