"""Comparing groups of sessions: which belong together, how well they did, what their parameters differ in.

Sessions belong together if all parameters in force are the same but for the seed, `--repeal` included: what it changed
when the session began, and what it changed from a later epoch on.
"""

import json
import warnings
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


class Group(NamedTuple):
    """Sessions that differ in their seed only, one of each seed.

    Attributes:
        name: of the first session, with the seeds.
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

    Of sessions with one seed, which repeat each other, the one that got furthest counts.
    """
    found: dict[str, list[Loader]] = {}
    for loader in loaders:
        found.setdefault(json.dumps(_identity(loader), sort_keys=True), []).append(loader)
    groups = []
    for members in found.values():
        by_seed: dict[str, list[Loader]] = {}
        for loader in members:
            by_seed.setdefault(json.dumps(loader.seed), []).append(loader)
        counted = [max(same, key=lambda loader: loader.varlog.last("frame")) for same in by_seed.values()]
        repeated = [loader for loader in members if not any(loader is other for other in counted)]
        seeds = ", ".join(str(loader.seed) for loader in counted)
        more = f" (seeds {seeds})" if len(counted) > 1 else ""
        groups.append(Group(f"{counted[0].name}{more}", counted, tuple(repeated)))
    return groups


def differences(groups: list[Group]) -> dict[str, list[Any]]:
    """Return parameters that are not the same in all groups: path -> the value in each; None where it is absent."""
    trees = [{**parameters_of(group.loaders[0]), **changes_of(group.loaders[0])} for group in groups]
    paths = dict.fromkeys(path for tree in trees for path in tree)
    found = {path: [tree.get(path) for tree in trees] for path in paths if path != _SEED}
    return {path: values for path, values in found.items() if any(value != values[0] for value in values)}


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
