"""Comparing groups of sessions: which belong together, how well they did, what their parameters differ in."""

import json
import warnings
from typing import Any, NamedTuple

import numpy as np

from digideep.post.loader import Loader
from digideep.utility.errors import UsageError

_REPETITIONS = 2000  # of the bootstrap
_LAST = 0.1  # of the frames: what the score of a run without tests is the mean of


class Group(NamedTuple):
    """Sessions that differ in their seed only."""

    name: str
    loaders: list[Loader]


class Score(NamedTuple):
    """Statistics over the runs of a group, each with the 95 % interval of a stratified bootstrap."""

    runs: int
    values: list[float]
    iqm: tuple[float, float, float]  # interquartile mean, lower and upper end
    mean: tuple[float, float, float]
    median: tuple[float, float, float]


def parameters_of(loader: Loader) -> dict[str, Any]:
    """All leaves of a session's parameter tree by path, without what names the session."""
    own = ("session_name", "session_msg", "session_cmd", "versions")
    return _leaves({key: value for key, value in loader.params.items() if key not in own})


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict) and tree:
        return {p: leaf for key, value in tree.items() for p, leaf in _leaves(value, f"{path}/{key}").items()}
    if isinstance(tree, list) and any(isinstance(value, dict) for value in tree):
        return {p: leaf for i, value in enumerate(tree) for p, leaf in _leaves(value, f"{path}/{i}").items()}
    return {path: tree}


def make_groups(loaders: list[Loader]) -> list[Group]:
    """Put sessions together that differ in their seed only, in the order of their first."""
    groups: dict[str, list[Loader]] = {}
    for loader in loaders:
        identity = {path: value for path, value in parameters_of(loader).items() if path != "/runner/seed"}
        groups.setdefault(json.dumps(identity, sort_keys=True), []).append(loader)
    named = []
    for members in groups.values():
        seeds = ", ".join(str(loader.params["runner"]["seed"]) for loader in members)
        more = f" (seeds {seeds})" if len(members) > 1 else ""
        named.append(Group(f"{members[0].name}{more}", members))
    return named


def differences(groups: list[Group]) -> dict[str, list[Any]]:
    """Parameters that are not the same in all groups: path -> the value in each; None where it is absent."""
    trees = [parameters_of(group.loaders[0]) for group in groups]
    paths = dict.fromkeys(path for tree in trees for path in tree)
    found = {path: [tree.get(path) for tree in trees] for path in paths if path != "/runner/seed"}
    return {path: values for path, values in found.items() if any(value != values[0] for value in values)}


def final_return(loader: Loader) -> float | None:
    """A run's score: the mean return of its last test; of the last tenth of its frames where it was never tested."""
    log = loader.varlog
    if "/return/test" in log:
        return float(log.mean("/return/test")[-1])
    if "/return/train" not in log:
        return None
    entry = log["/return/train"]
    is_late = entry["frame"] >= (1 - _LAST) * entry["frame"][-1]
    return float(entry["sum"][is_late].sum() / entry["num"][is_late].sum())


def score(group: Group) -> Score | None:
    """Interquartile mean, mean and median of a group's final returns.

    Source: Agarwal et al. 2021, arXiv:2108.13264, Section 4, by the authors' own package.

    Raises:
        UsageError: if rliable is not installed.
    """
    values = [value for loader in group.loaders if (value := final_return(loader)) is not None]
    if not values:
        return None
    try:
        from rliable import library, metrics
    except ImportError as err:
        raise UsageError("Comparisons need a package that is missing: pip install 'digideep[plot]'.") from err

    def aggregate(scores: np.ndarray) -> np.ndarray:
        return np.array([f(scores) for f in (metrics.aggregate_iqm, metrics.aggregate_mean, metrics.aggregate_median)])

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
    return Score(len(values), values, *triples)
