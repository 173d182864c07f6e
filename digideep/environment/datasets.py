"""Data sets of episodes, with which a memory may begin; see docs/demonstrations.md.

The format is Minari's own. Of its files, JSON is parsed and arrays are read: nothing is unpickled, evaluated or
imported, and no environment is made of what they name.
"""

import hashlib
import os
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import psutil

from digideep.environment.spaces import bounds, follow, leaves
from digideep.parameters.checks import require_int
from digideep.parameters.component import Component
from digideep.utility.errors import UsageError
from digideep.utility.files import open_regular, read_json
from digideep.utility.text import printable
from digideep.utility.user_code import in_words

METADATA, CONTENT = "metadata.json", "main_data.hdf5"
_BLOCK_BYTES = 2**20


class RecordedEpisode(NamedTuple):
    """T steps of an environment, in its own units."""

    observations: Any  # (T + 1, ...) in the structure of the observation space, the true last one included
    actions: Any  # (T, ...), in the structure of the action space
    rewards: np.ndarray  # (T,)
    terminations: np.ndarray  # bool (T,)


@dataclass(frozen=True)
class LoadedData:
    """A data set that was opened."""

    name: str
    observation_space: gym.Space
    action_space: gym.Space
    environment: str | None  # the id that gymnasium knows, if it is said
    files: dict[str, str]  # sha256 of each, by its name
    episodes: Iterator[RecordedEpisode]


class DataSet(Component):
    """What a memory may begin with."""

    @abstractmethod
    def load(self) -> LoadedData:
        """Open it. Raises: UsageError: if it cannot be read; while episodes are read, too."""
        raise NotImplementedError


class MinariData(DataSet):
    """Reads a data set of Minari's, on this machine; nothing is downloaded.

    Args:
        dataset: a directory, or the id of a data set where Minari keeps them (`MINARI_DATASETS_PATH`, or else
            `~/.minari/datasets`), such as "mujoco/halfcheetah/medium-v0".
        num_episodes: that are read, the first ones; None for all.
    """

    def __init__(self, *, dataset: str, num_episodes: int | None = None):
        if num_episodes is not None:
            require_int("num_episodes", num_episodes, 1)
        self.dataset, self.num_episodes = dataset, num_episodes

    def load(self) -> LoadedData:
        """See `DataSet`."""
        minari, path = require_minari(), find_dataset(self.dataset)
        name = printable(str(path))
        metadata = read_json(path / METADATA, dict)
        # Minari would make the environment that the file names, to ask it for what is missing.
        for key in ("observation_space", "action_space"):
            if not isinstance(metadata.get(key), str):
                raise UsageError(f"{name} is no data set of Minari 0.5: its {METADATA} has no {key}. Record it anew.")
        if metadata.get("data_format") != "hdf5":
            got = printable(str(metadata.get("data_format")))
            raise UsageError(f"{name} holds data in the format '{got}', expected 'hdf5'. Convert it with Minari.")
        files = {file: _sha256(path / file) for file in (METADATA, CONTENT)}
        try:
            _check_content(path / CONTENT, self.num_episodes)
            data = minari.MinariDataset(path)
            number = len(data) if self.num_episodes is None else self.num_episodes
            named = metadata.get("digideep_environment") if data.env_spec is None else data.env_spec.id
            environment = None if named is None else printable(str(named))
            spaces, known = (data.observation_space, data.action_space), str(metadata.get("dataset_id") or path)
        except UsageError:
            raise
        except Exception as err:  # damaged files fail in many ways, in h5py and in Minari
            raise UsageError(f"{name} is no data set that Minari can read: {in_words(err)}") from err
        if not len(data):
            raise UsageError(f"{name} has no episodes. Record some.")
        if number > len(data):
            raise UsageError(f"{name} has {len(data)} episodes, and num_episodes={number} should be read. Lower it.")
        return LoadedData(
            printable(known),
            *spaces,
            environment,
            files,
            self._episodes(data, number, name),
        )

    def _episodes(self, data: Any, number: int, name: str) -> Iterator[RecordedEpisode]:
        for index in range(number):
            try:
                found = data[index]
                yield RecordedEpisode(
                    found.observations, found.actions, np.asarray(found.rewards), np.asarray(found.terminations)
                )
            except Exception as err:
                raise UsageError(f"{name}: episode {index} cannot be read: {in_words(err)}") from err


def require_minari() -> Any:
    """Return Minari. Raises: UsageError: if it is not installed."""
    try:
        import h5py  # noqa: F401
        import minari
    except ImportError as err:
        raise UsageError(f"Data sets need {err.name}, which is missing: pip install 'digideep[minari]'.") from err
    return minari


def datasets_root() -> Path:
    """Return the directory where Minari keeps data sets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def find_dataset(dataset: str) -> Path:
    """Return the directory of a data set's files. Args: dataset: a directory, or an id."""
    for place in (Path(dataset), datasets_root() / dataset):
        for found in (place, place / "data"):
            if os.path.exists(found / METADATA):
                return found
    raise UsageError(
        f"There is no data set '{printable(dataset)}', neither as a directory with {METADATA} nor as an id under "
        f"{printable(str(datasets_root()))}. Record one with `digideep record`, or fetch one with `minari download`."
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check_content(path: Path, num_episodes: int | None) -> None:
    """Refuse a file that leads to other files, or of which what is read would not fit into memory.

    Raises:
        UsageError: naming it.
    """
    import h5py

    name, sizes = printable(str(path)), [0]

    def is_foreign(key: str, node: Any) -> str | None:
        if isinstance(node, h5py.Dataset):
            number = re.match(r"episode_(\d+)/", key)
            if num_episodes is None or number is None or int(number[1]) < num_episodes:
                sizes.append(node.nbytes)
            return key if node.external or node.is_virtual else None
        return None

    with h5py.File(path, "r") as file:
        link = file.visititems_links(lambda key, link: None if isinstance(link, h5py.HardLink) else key)
        foreign = link or file.visititems(is_foreign)
    if foreign:
        raise UsageError(f"{name} leads elsewhere at '{printable(foreign)}': only what it holds itself is read.")
    free = psutil.virtual_memory().available
    if sum(sizes) > free:
        what = "all episodes" if num_episodes is None else f"the first {num_episodes} episodes"
        raise UsageError(
            f"{name}: {what} take {sum(sizes) / 1e9:.1f} GB, of which {free / 1e9:.1f} GB are free. Read fewer, by "
            "num_episodes."
        )


def read_leaves(values: Any, space: gym.Space, key: str, rows: int) -> dict[str, np.ndarray]:
    """Return the arrays of recorded values by path, each (rows, ...) as its space says.

    Args:
        values: in the structure of the space.
        space: of the recording.
        key: path of what is neither Dict nor Tuple.
        rows: expected in each.

    Raises:
        UsageError: if one of them has another shape, or is not finite.
    """
    arrays = {}
    for path, keys, leaf in leaves(space, key):
        try:
            array = np.asarray(follow(keys)(values))
        except (LookupError, TypeError, ValueError) as err:
            raise UsageError(f"{path} is missing.") from err
        if array.dtype.kind not in "biuf":
            raise UsageError(f"{path} has the dtype {array.dtype}, expected numbers.")
        if array.shape != (rows, *(leaf.shape or ())):
            raise UsageError(f"{path} has shape {array.shape}, expected {(rows, *(leaf.shape or ()))}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{path} holds values that are not finite.")
        _check_whole(path, array, leaf)
        arrays[path] = array
    return arrays


def _check_whole(path: str, array: np.ndarray, leaf: gym.Space) -> None:
    """Refuse values that a space of whole numbers or of truths does not hold. Floats are taken as they are."""
    kind = np.dtype(leaf.dtype).kind
    if kind == "f" or not array.size:
        return
    low, high = (False, True) if kind == "b" else bounds(leaf)
    for wrong in (array != np.round(array), (array < low) | (array > high)):
        if wrong.any():
            raise UsageError(f"{path} holds {array[wrong][0]}, which {leaf} does not.")
