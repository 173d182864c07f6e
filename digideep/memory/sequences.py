"""Replay for policies that remember: sequences of one episode, with a burn-in before what is learned from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from digideep.memory.episodes import Episodes
from digideep.memory.generic import SampledMemory
from digideep.memory.replay import Replay
from digideep.memory.ring import Chunk, Ring
from digideep.memory.transitions import TransitionIndices, draw_uniform, gather, gather_outcomes, gather_stacked
from digideep.parameters.checks import require_int
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks


class SequenceIndices(NamedTuple):
    """Sequences of a memory, in moments: numbers of steps of a worker since the run began."""

    memory: SampledMemory
    workers: np.ndarray  # int64 (S,)
    firsts: np.ndarray  # int64 (S,), where the burn-in begins, from the state that is stored there
    starts: np.ndarray  # int64 (S,), the first moment that is learned from
    lasts: np.ndarray  # int64 (S,), the last observation of the episode that is held


def draw_sequences(memory: SampledMemory, episodes: Episodes, info: Mapping[str, Any]) -> SequenceIndices:
    """Draw sequences around transitions, each of which is as likely as any other.

    The transition stands at a random place of its sequence, which is then moved into the episode: so an episode that is
    shorter than a sequence is drawn whole, and others fill it. The burn-in is shorter near an episode's beginning
    only. Of a memory that has forgotten something, the oldest `burn_in` rows serve as burn-in alone.

    Args:
        memory: to draw from.
        episodes: of this memory.
        info: as of `draw_uniform`; "batch_size" counts sequences. "sequence_length" and "burn_in", in rows.
    """
    length, burn_in, ring = info["sequence_length"], info["burn_in"], memory.ring
    num_skipped = burn_in if ring.has_forgotten else 0
    _, workers, rows, _ = draw_uniform(memory, {**info, "num_skipped": num_skipped})
    episodes.follow(memory)
    now, first, last = episodes.bounds(workers, rows)
    offsets = (info["generator"].random(len(rows)) * length).astype(np.int64)
    earliest = np.maximum(first, episodes.oldest + ring.num_incomplete + num_skipped)
    starts = np.maximum(np.minimum(now - offsets, last - length), earliest)
    return SequenceIndices(memory, workers, np.maximum(first, starts - burn_in), starts, last)


def gather_sequences(indices: SequenceIndices, episodes: Episodes, info: Mapping[str, Any]) -> Chunk:
    """Gather the rows of sequences, and the transitions within them.

    S sequences have P = `burn_in` rows to warm a state up, then T = `sequence_length + n_step_return`. Rows outside of
    the episode repeat its nearest one, and no transition is taken from them: those that there are stand for them in
    turn, so that a batch always has B = S * `sequence_length` transitions.

    Args:
        indices: from `draw_sequences`.
        episodes: of the memory.
        info: as of `gather_transitions`; "states", the key of hidden states; "sequence_length", "burn_in".

    Returns:
        path -> array: "<observation>" (S * T, ...), "<observation>_before" (S * P, ...), one sequence after the other;
        "/states" float32 (S, H), stored before the first row; "/keep" float32 (S, P + T), 0 where the state is zeroed
        before the row, else 1; "/rows" and "/rows_2" int64 (B,), of the S * T: transitions, and the
        observations to bootstrap from. Actions, "/rewards", "/discounts" and "/weights" (B,) as of
        `gather_transitions`.
    """
    memory, firsts, lasts = indices.memory, indices.firsts[:, None], indices.lasts[:, None]
    burn_in, length, n = info["burn_in"], info["sequence_length"], info["n_step_return"]
    num_rows = length + n
    moments = indices.starts[:, None] + np.arange(-burn_in, num_rows)
    rows = episodes.rows(np.clip(moments, firsts, lasts))
    before, after = rows[:, :burn_in], rows[:, burn_in:]
    keep = (moments != firsts).astype(np.float32)
    keep[:, 0] = 1  # the state before the first row is the stored one; where the episode begins later, it is zero there

    sequences, steps = np.nonzero(moments[:, burn_in : burn_in + length] < lasts)
    chosen = np.resize(np.arange(len(steps)), len(rows) * length)
    sequences, steps = sequences[chosen], steps[chosen]
    own = TransitionIndices(
        memory, indices.workers[sequences], after[sequences, steps], np.ones(len(steps), np.float32)
    )
    outcomes, bootstraps = gather_outcomes(own, info)
    places = sequences * num_rows + steps

    def of_all(key: str, rows: np.ndarray) -> np.ndarray:
        return gather_stacked(memory, key, np.repeat(indices.workers, rows.shape[1]), rows.reshape(-1))

    return {
        **{key: of_all(key, after) for key in info["observations"]},
        **{f"{key}_before": of_all(key, before) for key in info["observations"]},
        "/states": gather(memory.buffer[info["states"]], indices.workers, episodes.rows(indices.firsts)),
        "/keep": keep,
        "/rows": places,
        "/rows_2": places + (bootstraps - own.rows) % memory.ring.num_steps,
        **outcomes,
    }


class SequenceReplay(Replay):
    """Draws sequences for policies that remember; how often, as `Replay`. A batch is that of `gather_sequences`.

    Source: Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning", Sections 2.3
    and 3: the stored state and a burn-in. Differs from the paper: sequences begin anywhere, where there they are cut
    once and overlap by half; no priorities.

    Args:
        ranks: that train together; None for one.
        batch_size: transitions of a batch, of all ranks together; a multiple of `sequence_length`.
        sequence_length: rows of a sequence that are learned from, which is how far gradients reach back. Usual: 16
            to 80.
        burn_in: rows before them that only warm the state up. Usual: half of `sequence_length`.
        parameters: of `Replay`; no priorities, shares or hindsight.
    """

    def __init__(
        self, ranks: Ranks | None = None, *, batch_size: int, sequence_length: int, burn_in: int = 0, **parameters: Any
    ):
        require_int("sequence_length", sequence_length, 1, 100_000)
        require_int("burn_in", burn_in, 0, 100_000)
        ways_of = {"priorities": "prioritized", "shares": "dataset_share"}
        for name in ("priorities", "shares", "hindsight", "random_shift"):
            if parameters.get(name):
                raise UsageError(
                    f"{name} cannot be used with sequences, which a recurrent policy learns from. Leave "
                    f"{ways_of.get(name, name)} out, or set recurrent to false."
                )
        super().__init__(ranks=ranks, batch_size=batch_size, **parameters)
        ranks, number = ranks or Ranks(), batch_size // sequence_length
        if batch_size % sequence_length or number < ranks.size:
            raise UsageError(
                f"batch_size must be a multiple of sequence_length={sequence_length}, with a sequence for each rank, "
                f"got {batch_size}. Take {sequence_length * max(number, ranks.size)}, or change sequence_length."
            )
        own_number = ranks.share(number)
        self.share = own_number / number
        self.info = {**self.info, "batch_size": own_number, "sequence_length": sequence_length, "burn_in": burn_in}
        self.units = (self._draw_sequences, self._gather)
        self._episodes = Episodes()  # all of it follows from the memory: nothing to save

    def _draw_sequences(self, memory: SampledMemory, info: Mapping[str, Any]) -> SequenceIndices:
        return draw_sequences(memory, self._episodes, info)

    def _gather(self, indices: SequenceIndices, info: Mapping[str, Any]) -> Chunk:
        return gather_sequences(indices, self._episodes, info)

    def _check_ring(self, ring: Ring, what: str, remedy: str) -> None:
        """Refuse a memory that does not hold a sequence, its burn-in and its bootstrap."""
        super()._check_ring(ring, what, remedy)
        rows = {name: self.info[name] for name in ("burn_in", "sequence_length", "n_step_return")}
        needed = sum(rows.values()) + (ring.buffer_chunk_len > 1) + ring.stack - 1
        if ring.num_steps < needed:
            parts = ", ".join(f"{name}={number}" for name, number in rows.items())
            raise UsageError(
                f"{what} holds {ring.num_steps} steps of each worker, and must hold at least {needed}: a sequence with "
                f"{parts}. Raise {remedy}, or lower them."
            )
