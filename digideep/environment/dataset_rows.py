"""From a data set's episodes to the rows of a memory, as an Explorer would have delivered them."""

import gymnasium as gym
import numpy as np

from digideep.environment.datasets import LoadedData, RecordedEpisode, read_leaves
from digideep.environment.scaling import unscale_actions
from digideep.environment.seats import Chunk, Seat
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks


def as_chunk(
    recording: LoadedData, seat: Seat, key: str, *, num_workers: int, length: int, ranks: Ranks
) -> tuple[Chunk, dict[str, int | float]]:
    """Return a data set as one long chunk, and what it holds in figures.

    Episodes stand one after the other, dealt out to the workers; each ends with its true last observation. Behind the
    last one there is a row at least where no transition starts: what is stored next may begin there.

    Args:
        recording: whose spaces are those of the environment.
        seat: of the agent, in the train explorer. Its wrappers learn from all observations and rewards, and then change
            them.
        key: path of an observation that is neither Dict nor Tuple.
        num_workers: N, of the chunk.
        length: steps of a chunk of the memory, of which the long one holds a whole number n.
        ranks: each takes every so many-th episode.

    Returns:
        path -> (N, n * length + 1, ...); and "episodes", "frames", "return" (the mean) of all ranks together.

    Raises:
        UsageError: naming the episode, if it does not hold what its spaces say, or there are too few.
    """
    workers: list[list[Chunk]] = [[] for _ in range(num_workers)]
    sizes, returns, frames = np.zeros(num_workers, np.int64), [], 0
    for index, episode in enumerate(recording.episodes):
        try:
            rows = _rows_of(episode, recording, seat, key)
        except UsageError as err:
            raise UsageError(f"{recording.name}: episode {index}: {err}") from err
        returns.append(float(episode.rewards.sum()))
        frames += len(episode.rewards)
        if index % ranks.size == ranks.rank:
            worker = int(sizes.argmin())
            workers[worker].append(rows)
            sizes[worker] += len(rows["/masks"])
    if len(returns) < ranks.size:
        raise UsageError(f"{recording.name} has {len(returns)} episodes for {ranks.size} ranks: each needs one.")
    together = [rows for worker in workers for rows in worker]
    flat = _wrapped({path: np.concatenate([rows[path] for rows in together]) for path in together[0]}, seat, ranks)
    num_rows = -(-int(sizes.max()) // length) * length + 1
    chunk = {path: np.zeros((num_workers, num_rows, *array.shape[1:]), array.dtype) for path, array in flat.items()}
    ends = np.cumsum(sizes)
    for path, array in flat.items():
        for worker, (end, size) in enumerate(zip(ends, sizes, strict=True)):
            chunk[path][worker, :size] = array[end - size : end]
    return chunk, {"episodes": len(returns), "frames": frames, "return": float(np.mean(returns))}


def _rows_of(episode: RecordedEpisode, recording: LoadedData, seat: Seat, key: str) -> Chunk:
    """Return the rows of an episode of T steps: path -> (T + 1, ...), the last one a half-step."""
    steps = len(episode.rewards)
    figures = (episode.rewards, episode.terminations)
    if steps == 0:
        raise UsageError("it has no step. Leave it out.")
    if any(each.shape != (steps,) or each.dtype.kind not in "biuf" for each in figures):
        raise UsageError(f"rewards and terminations have the shapes {[each.shape for each in figures]}, expected (T,).")
    with np.errstate(over="ignore"):
        rewards = episode.rewards.astype(np.float32)
    if not np.isfinite(rewards).all():
        raise UsageError("rewards hold values that float32 does not: infinite, NaN or beyond 3e38.")
    if not np.isin(episode.terminations, (0, 1)).all():
        raise UsageError("terminations hold values that are neither true nor false.")
    seen = read_leaves(episode.observations, recording.observation_space, key, steps + 1)
    actions = _chosen(read_leaves(episode.actions, recording.action_space, "/actions", steps), seat)
    spaces = seat.info.observation_spaces
    with np.errstate(over="ignore"):
        rows = {f"/observations{path}": seen[path].astype(space.dtype) for path, space in spaces.items()}
    for path, array in rows.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{path} holds values beyond what {array.dtype} holds.")
    half_step = np.zeros((1, 1), np.float32)
    rows["/masks"] = np.arange(steps + 1)[:, None] < steps
    rows["/rewards"] = np.concatenate([rewards[:, None], half_step])
    rows["/terminations"] = np.concatenate([episode.terminations.astype(np.bool_)[:, None], half_step != 0])
    rows[f"/agents/{seat.name}/actions"] = np.concatenate([actions, np.zeros_like(actions[:1])])
    return rows


def _chosen(taken: dict[str, np.ndarray], seat: Seat) -> np.ndarray:
    """Return what the seat's agent chose, (T, ...). Args: taken: actions of the environment, by path."""
    space = seat.info.action_space
    if not isinstance(space, gym.spaces.Dict):
        return unscale_actions(space, *taken.values())
    paths = seat.info.entries or tuple(space.spaces)
    parts = [unscale_actions(part, taken[f"/{path}"]) for path, part in zip(paths, space.values(), strict=True)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], 1, dtype=np.float32)


def _wrapped(rows: Chunk, seat: Seat, ranks: Ranks) -> Chunk:
    """Return rows (R, ...) as the seat's wrappers change them, having learned from them."""
    observations = {path: rows[f"/observations{path}"] for path in seat.info.observation_spaces}
    rewards, masks = rows["/rewards"][:, 0], rows["/masks"][:, 0]
    for wrapper in seat.wrappers:
        observations, rewards = wrapper.wrap_recorded(observations, rewards, masks, ranks)
    changed = {f"/observations{path}": array for path, array in observations.items()}
    return rows | changed | {"/rewards": rewards[:, None].astype(np.float32)}
