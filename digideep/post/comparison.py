"""Comparing groups of sessions: which belong together, how well they did, what their parameters differ in.

Sessions belong together if all parameters in force are the same but for the seed, `--repeal` included: what it changed
when the session began, and what it changed from a later epoch on.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from digideep.parameters.tree import leaves
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError

_REPETITIONS = 2000  # of the bootstrap
_LAST = 0.1  # of the frames: what the score of a run without tests is the mean of

# What changes no number of a training: how often it is saved or filmed, and when its process stops.
_NO_NUMBERS = {
    f"/runner/{name}" for name in ("save_int", "keep_checkpoints", "max_time", "max_iter", "histogram_int", "video_int")
}
_SEED = "/runner/seed"
_NO_NUMBERS_OF_PANEL = (
    "seed", "save_interval", "keep_checkpoints", "max_exec_time", "max_exec_iter", "histogram_interval",
    "video_interval",
)  # fmt: skip
_VAGUE = ("start", "end", "duration", "class")  # last parts of paths that do not say what of
_LONGEST_NAME = 70  # letters


class Group(NamedTuple):
    """Sessions that differ in their seed only, one of each seed.

    Attributes:
        name: what it differs in from the other groups, see `make_groups`.
        loaders: of the sessions.
        repeated: sessions whose seed one of `loaders` has, too. They say nothing new, and count nowhere.
    """

    name: str
    loaders: list[Loader]
    repeated: tuple[Loader, ...] = ()


class Score(NamedTuple):
    """Statistics over the runs of a group, each with the 95 % interval of a stratified bootstrap."""

    runs: int
    values: list[float]
    measure: str  # "test" or "train", see `measured_return`
    frames: tuple[int, int]  # where it was measured: the least and the greatest of the runs
    iqm: tuple[float, float, float]  # interquartile mean, lower and upper end
    mean: tuple[float, float, float]
    median: tuple[float, float, float]


def parameters_of(loader: Loader) -> dict[str, Any]:
    """Return the parameters in force by path, without those that name the session."""
    own = ("session_name", "session_msg", "session_cmd", "versions")
    tree = {key: value for key, value in loader.params.items() if key not in own}
    return leaves(tree, opens=lambda node: isinstance(node, dict) or any(isinstance(each, dict) for each in node))


def changes_of(loader: Loader) -> dict[str, Any]:
    """Return what `--repeal` changed after the first start: "PATH from epoch N" -> the value."""
    return {
        f"{path} from epoch {note['epoch'] + 1}": value
        for note in loader.repeals
        if note["epoch"] > 0
        for path, value in note["repeal"].items()
    }


def _identity(loader: Loader) -> dict[str, Any]:
    """Return all that decides a run's numbers besides its seed: parameters, and when they were changed."""
    found = {**parameters_of(loader), **changes_of(loader)}
    return {path: value for path, value in found.items() if path.partition(" ")[0] not in {*_NO_NUMBERS, _SEED}}


def make_groups(loaders: list[Loader]) -> list[Group]:
    """Put sessions together that differ in their seed only, in the order of their first.

    A group is named after what it differs in from the others: "lr = 0.0005", "SAC, Hopper-v5"; one that is alone, or
    that nothing short tells from the others, after its first session. Of sessions with one seed, which repeat each
    other, the one that got furthest counts.
    """
    found: dict[str, list[Loader]] = {}
    for loader in loaders:
        found.setdefault(json.dumps(_identity(loader), sort_keys=True), []).append(loader)
    pairs = []
    for members in found.values():
        by_seed: dict[str, list[Loader]] = {}
        for loader in members:
            by_seed.setdefault(json.dumps(loader.seed), []).append(loader)
        counted = [max(same, key=lambda loader: loader.varlog.last("frame")) for same in by_seed.values()]
        repeated = [loader for loader in members if not any(loader is other for other in counted)]
        pairs.append((counted, tuple(repeated)))
    names = _names([counted[0] for counted, _ in pairs])
    return [
        Group(name if name != pair[0][0].name or len(pair[0]) == 1 else f"{name} and {len(pair[0]) - 1} more", *pair)
        for name, pair in zip(names, pairs, strict=True)
    ]


def differences(loaders: Sequence[Loader]) -> dict[str, list[Any]]:
    """Return parameters that are not the same in all sessions: path -> the value in each; None where it is absent."""
    return _unequal([{**parameters_of(loader), **changes_of(loader)} for loader in loaders], _SEED)


def _unequal(mappings: Sequence[Mapping[str, Any]], *ignored: str) -> dict[str, list[Any]]:
    """Return the keys whose values differ, with the value of each mapping; None where it is absent."""
    keys = dict.fromkeys(key for each in mappings for key in each if key not in ignored)
    found = {key: [each.get(key) for each in mappings] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _names(loaders: Sequence[Loader]) -> list[str]:
    """Name groups after what differs between them, by the first session of each.

    That is the environment, the method, and among those of the same two keys of the control panel, or else paths of the
    tree: "lr = 0.0005". A group gets its session's name where that says little (a single group) or is no name (much
    differs, or nothing that can be told).
    """
    kinds = [(loader.agent_names, loader.params["env"]["name"]) for loader in loaders]
    words: list[list[str]] = [
        [part for part, column in zip(kind, zip(*kinds, strict=True), strict=True) if len(set(column)) > 1]
        for kind in kinds
    ]
    for kind in dict.fromkeys(kinds):
        peers = [index for index, other in enumerate(kinds) if other == kind]
        for index, more in zip(peers, _differing([loaders[index] for index in peers]), strict=True):
            words[index] += more
    names = [", ".join(parts) for parts in words]
    return [
        name if 0 < len(name) <= _LONGEST_NAME and names.count(name) == 1 else loader.name
        for name, loader in zip(names, loaders, strict=True)
    ]


def _differing(peers: Sequence[Loader]) -> list[list[str]]:
    """Return for each session "key = value" of all that differs; of the control panel, if that tells them apart."""
    panels = [loader.cpanel for loader in peers]
    shared = set.intersection(*(set(panel) for panel in panels))
    known = [{key: panel[key] for key in panel if key in shared} for panel in panels]
    found = _unequal(known, *_NO_NUMBERS_OF_PANEL)
    is_told_apart = len({json.dumps([values[i] for values in found.values()]) for i in range(len(peers))}) == len(peers)
    if not is_told_apart or any(loader.repeals for loader in peers):  # those are not in the panel
        found = differences(peers)
        found = {name: found[path] for path, name in _short(list(found)).items() if path not in _NO_NUMBERS}
    return [
        [f"{key} = {_plain(values[i])}" for key, values in found.items() if values[i] is not None]
        for i in range(len(peers))
    ]


def _short(paths: list[str]) -> dict[str, str]:
    """Return each path's last parts, as many as tell it from the others; "start" alone would say too little."""
    found = {}
    for path in paths:
        parts = path.removeprefix("/").split("/")
        for count in range(2 if parts[-1].partition(" ")[0] in _VAGUE else 1, len(parts) + 1):
            name = "/".join(parts[-count:])
            if sum(f"/{other.removeprefix('/')}".endswith(f"/{name}") for other in paths) == 1:
                break
        found[path] = name
    return found


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def measured_return(loader: Loader, measure: str | None = None) -> tuple[float, int] | None:
    """Return a run's score, and the frame at which it was measured; None where there was no such episode.

    Args:
        measure: "test" for the mean return of its last test; "train" for that of the training episodes in the last
            tenth of its frames; None takes the test where there was one.
    """
    measure = measure or measure_of(loader)
    key = f"/return/{measure}"
    if key not in loader.varlog:
        return None
    entry = _with_frames(loader.varlog[key])
    if not len(entry["frame"]):
        return None
    end = entry["frame"][-1]
    is_late = entry["frame"] >= (end if measure == "test" else (1 - _LAST) * end)
    value = float(entry["sum"][is_late].sum() / entry["num"][is_late].sum())
    return (value, int(end)) if np.isfinite(value) else None


def measure_of(loader: Loader) -> str:
    """Return what a run is judged by: "test" if it was tested, otherwise "train"."""
    return "test" if "/return/test" in loader.varlog else "train"


def _with_frames(entry: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the lines of a log that have a frame."""
    known = np.isfinite(entry.get("frame", np.full(len(entry["num"]), np.nan)))
    return {"frame": np.zeros(0), **{field: column[known] for field, column in entry.items()}}


def score(group: Group) -> Score | None:
    """Return statistics of a group's final returns: all of tests, or all of training episodes.

    Source: Agarwal et al. 2021, arXiv:2108.13264, Section 4; by the authors' own package, but for the median.

    Raises:
        UsageError: if rliable is not installed.
    """
    having = [loader for loader in group.loaders if measured_return(loader) is not None]
    measure = "test" if all(measure_of(loader) == "test" for loader in having) else "train"
    measured = [found for loader in having if (found := measured_return(loader, measure)) is not None]
    if not measured:
        return None
    values, frames = [value for value, _ in measured], [frame for _, frame in measured]
    try:
        from rliable import library, metrics
    except ImportError as err:
        raise UsageError("Comparisons need a package that is missing: pip install 'digideep[plot]'.") from err

    def aggregate(scores: np.ndarray) -> np.ndarray:
        # rliable's own median is that of the means of tasks: of one task, its mean.
        return np.array([metrics.aggregate_iqm(scores), metrics.aggregate_mean(scores), np.median(scores)])

    scores = {"group": np.array(values)[:, None]}  # runs x tasks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of arch, about the way in which rliable hands it the generator
        points, intervals = library.get_interval_estimates(
            scores, aggregate, reps=_REPETITIONS, random_state=np.random.RandomState(0)
        )
    triples = [
        (float(point), float(low), float(high))
        for point, low, high in zip(points["group"], *intervals["group"], strict=True)
    ]
    return Score(len(values), values, measure, (min(frames), max(frames)), *triples)
