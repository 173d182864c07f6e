"""Session as a module: a session's parameters, logs, policy and environment, read from its data files.

    from digideep_sessions.session_20260101120000_calm_curie import loader

    loader.params["agents"]["agent"]["gamma"]
    log = loader.varlog["/return/train"]
    log["frame"], log["sum"] / log["num"]
    policy, environment = loader.policy(), loader.environment()

Reading is all that it does: nothing is unpickled or evaluated, and of the session's own sources nothing is run.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from digideep.utility.errors import CheckpointError, UsageError
from digideep.utility.suggest import did_you_mean

if TYPE_CHECKING:
    import gymnasium as gym

    from digideep.post.policy import Policy


class Log(Mapping[str, dict[str, np.ndarray]]):
    """A file of JSON lines as arrays: `log[key][field]`, one entry per line that has the key.

    Fields are those of the line's "meta" (`epoch`, `frame`, `episode`, `clock`) and of the key's data (`num`, `sum`,
    `std`, `min`, `max`; in `prolog.json` `occurs`, `totals`, `starts`).
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows: dict[str, list[dict[str, Any]]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # the line that a running session is writing
            for key, data in entry["data"].items():
                self._rows.setdefault(key, []).append({**entry["meta"], **data})

    def __iter__(self) -> Iterator[str]:
        """What was logged, in the order of its first line."""
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, np.ndarray]:
        """The fields of a key as arrays.

        Raises:
            KeyError: if nothing was logged under that name.
        """
        if key not in self._rows:
            raise KeyError(f"'{key}' is not in {self.path.name}. {did_you_mean(key, self._rows)}")
        rows = self._rows[key]
        return {field: np.array([row.get(field) for row in rows]) for field in rows[0]}

    def mean(self, key: str) -> np.ndarray:
        """The mean of each line: `sum / num`."""
        entry = self[key]
        return entry["sum"] / entry["num"]


class Loader:
    """A session, read when asked.

    Args:
        path: its directory.

    Raises:
        UsageError: if that is no session.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path).resolve()
        if not (self.path / "params.yaml").is_file():
            raise UsageError(f"{path} is no session: it has no params.yaml. Give a session's directory.")

    def __repr__(self) -> str:
        return f"Loader({str(self.path)!r})"

    @property
    def name(self) -> str:
        """Name of the session's directory."""
        return self.path.name

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameter tree, with "session_name", "session_msg", "session_cmd" and "versions" beside it."""
        return yaml.safe_load((self.path / "params.yaml").read_text())

    @cached_property
    def cpanel(self) -> dict[str, Any]:
        """The control panel; empty where none was written, as in evaluations."""
        file = self.path / "cpanel.json"
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def varlog(self) -> Log:
        """The monitored values, read anew: a running session writes on."""
        return Log(self.path / "varlog.json")

    @property
    def prolog(self) -> Log:
        """The profiler's times."""
        return Log(self.path / "prolog.json")

    @property
    def monlog(self) -> Log:
        """The load of the machine."""
        return Log(self.path / "monlog.json")

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints, oldest first."""
        from digideep.pipeline.checkpoint import list_checkpoints

        return [path.name for path in list_checkpoints(self.path / "checkpoints")]

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """What each `--play` wrote, oldest first."""
        return [json.loads(file.read_text()) for file in sorted(self.path.glob("evaluations/*/evaluation.json"))]

    def state(self, checkpoint: str | int | None = None) -> dict[str, Any]:
        """The content of a checkpoint: nested dictionaries with arrays, tensors and JSON values.

        Args:
            checkpoint: its name or its epoch; None takes the newest valid one.

        Raises:
            CheckpointError: if it is missing or not as it was written.
        """
        from digideep.pipeline.checkpoint import read_checkpoint

        if checkpoint is not None:
            name = f"checkpoint-{checkpoint}" if isinstance(checkpoint, int) else checkpoint
            if name not in self.checkpoints:
                raise CheckpointError(f"{self.path} has no '{name}'. It has {', '.join(self.checkpoints) or 'none'}.")
            return read_checkpoint(self.path / "checkpoints" / name)[0]
        for name in reversed(self.checkpoints):
            try:
                return read_checkpoint(self.path / "checkpoints" / name)[0]
            except CheckpointError:
                continue  # the one before may be whole
        raise CheckpointError(f"{self.path} has no valid checkpoint.")

    def policy(self, checkpoint: str | int | None = None, device: str = "cpu", *, agent: str | None = None) -> "Policy":
        """What `--play` does: a callable from raw observations of the environment to its actions, one or a batch.

        Normalisation and the scaling of actions are part of it. Call its `reset()` where an episode begins.

        Args:
            checkpoint: its name or its epoch; None takes the newest valid one.
            device: where it computes.
            agent: whose policy, where several learn; it takes what a player of this agent sees.

        Raises:
            CheckpointError: if the checkpoint cannot be read or does not fit.
            UsageError: if there are several agents and none is named.
        """
        from digideep.post.policy import Policy

        return Policy(self.state(checkpoint), device, agent)

    def environment(self, render_mode: str | None = None) -> "gym.Env":
        """Make the environment that the session was trained on.

        Args:
            render_mode: as in gymnasium.

        Raises:
            UsageError: if its module lies in a session, or this is not recognised as one: its files might be imported.
        """
        from digideep.environment.make_environment import EnvironmentSpec, make_environment
        from digideep.parameters.tree import from_plain
        from digideep.utility.component import build
        from digideep.utility.importing import session_of

        if session_of(self.path) is None:
            raise UsageError(f"{self.path} is no whole session: it has no checkpoints. No environment is made of it.")
        return make_environment(build(from_plain(self.params["env"]), EnvironmentSpec), render_mode=render_mode)
