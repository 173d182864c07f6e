"""Session as a module: a session's parameters, logs, policy and environment, read from its data files.

    from digideep_sessions.session_20260101120000_calm_curie import loader

    loader.params["agents"]["agent"]["gamma"]
    log = loader.varlog["/return/train"]
    log["frame"], log["sum"] / log["num"]
    policy, environment = loader.policy(), loader.environment()

Reading is all that it does: nothing is unpickled or evaluated, and of the session's own sources nothing is run.
"""

import os
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digideep.pipeline.repeals import read_repeals, replace_value
from digideep.post.log import Log
from digideep.post.status import state_of
from digideep.utility.errors import CheckpointError, SessionError, UsageError
from digideep.utility.files import is_finite, read_json, read_yaml
from digideep.utility.text import printable

if TYPE_CHECKING:
    import gymnasium as gym

    from digideep.post.policy import Policy


class Loader:
    """A session, read when asked. Whatever its files hold, what is asked for comes, or one `SessionError`.

    Args:
        path: its directory.

    Raises:
        SessionError: if that is no session.
    """

    def __init__(self, path: Path | str):
        try:
            self.path = Path(path).resolve()
            is_session = os.path.lexists(self.path / "params.yaml")
        except (OSError, ValueError, RuntimeError):
            is_session = False
        if not is_session:
            why = "it has no params.yaml" if os.path.lexists(path) else "there is nothing of that name"
            raise SessionError(f"{printable(str(path))} is no session: {why}. Give a session's directory.")
        self._logs: dict[str, tuple[tuple[int, int], Log]] = {}

    def __repr__(self) -> str:
        return f"Loader({str(self.path)!r})"

    @property
    def name(self) -> str:
        """Name of the session's directory."""
        return self.path.name

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters in force: the tree that the session began with, changed by each `--repeal` since.

        "session_name", "session_msg", "session_cmd" and "versions" stand beside the tree.
        """
        file = self.path / "params.yaml"
        tree = read_yaml(file)
        for note in self.repeals:
            for path, value in note["repeal"].items():
                try:
                    replace_value(tree, path, value)
                except LookupError as err:
                    where = printable(f"{self.path / 'repeal.json'} changes {path}")
                    raise SessionError(f"{where}, which params.yaml does not have.") from err
        self._require_tree(tree, printable(f"{file}{' as repeal.json changes it' if self.repeals else ''}"))
        return tree

    def _require_tree(self, tree: dict[str, Any], where: str) -> None:
        """Refuse a tree without what every list, report and plot needs."""
        for name in ("env", "runner", "agents"):
            if not isinstance(tree.get(name), dict):
                raise SessionError(f"{where} is no parameter tree: it has no mapping '{name}'.")
        if not isinstance(tree["env"].get("name"), str):
            raise SessionError(f"{where} is no parameter tree: it has no name under 'env'.")
        for agent, description in tree["agents"].items():
            if not isinstance(description, dict) or not isinstance(description.get("class"), str):
                raise SessionError(f"{where} is no parameter tree: agent '{printable(agent)}' has no class.")

    @cached_property
    def repeals(self) -> list[dict[str, Any]]:
        """What each `--repeal` changed, see `read_repeals`; that of the first start (epoch 0) is in `params.yaml`."""
        return read_repeals(self.path)

    @property
    def seed(self) -> Any:
        """The run's seed; None where it has none."""
        return self.params["runner"].get("seed")

    @property
    def agent_names(self) -> str:
        """The methods of the agents, such as "PPO" or "SAC+SAC"."""
        return "+".join(agent["class"].rpartition(".")[2] for agent in self.params["agents"].values())

    @property
    def message(self) -> str:
        """What --msg said."""
        return str(self.params.get("session_msg") or "")

    @cached_property
    def cpanel(self) -> dict[str, Any]:
        """The control panel that the session began with; empty where none was written, as in evaluations."""
        file = self.path / "cpanel.json"
        return read_json(file, dict) if os.path.lexists(file) else {}

    def _log(self, name: str, *needed: str) -> Log:
        """Read a log anew if its file has changed."""
        file = self.path / name
        try:
            status = file.stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:
            state = (-1, -1)
        if self._logs.get(name, ((-2, -2), None))[0] != state:
            self._logs[name] = (state, Log(file, needed))
        return self._logs[name][1]

    @property
    def varlog(self) -> Log:
        """The monitored values, read anew: a running session writes on."""
        return self._log("varlog.json", "num", "sum", "min", "max")

    @property
    def prolog(self) -> Log:
        """The profiler's times."""
        return self._log("prolog.json", "occurs", "totals")

    @property
    def monlog(self) -> Log:
        """The load of the machine."""
        return self._log("monlog.json", "num", "sum")

    @property
    def status(self) -> str:
        """What it does now: "running", "done" or "stopped"."""
        return state_of(self.path)

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints, oldest first."""
        from digideep.pipeline.checkpoint import list_checkpoints

        return [path.name for path in list_checkpoints(self.path / "checkpoints")]

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """What each `--play` wrote, by name."""
        return [_read_evaluation(file) for file in sorted(self.path.glob("evaluations/*/evaluation.json"))]

    def state(self, checkpoint: str | int | None = None) -> dict[str, Any]:
        """Return the content of a checkpoint: nested dictionaries with arrays, tensors and JSON values.

        Args:
            checkpoint: its name, such as "best", or its epoch; None takes the newest valid one.

        Raises:
            CheckpointError: if it is missing, not as it was written, or not what a run writes.
            UnreadableError: if it cannot be read for another reason, such as permissions.
        """
        from digideep.pipeline.checkpoint import BEST, load_checkpoint, load_newest_valid

        if checkpoint is None:
            return load_newest_valid(self.path, needs_memory=False).state
        name = f"checkpoint-{checkpoint}" if isinstance(checkpoint, int) else checkpoint
        known = [*self.checkpoints, *([BEST] if (self.path / "checkpoints" / BEST).is_dir() else [])]
        if name not in known:
            raise CheckpointError(f"{self.path} has no '{name}'. It has {', '.join(known) or 'none'}.")
        return load_checkpoint(self.path / "checkpoints" / name, needs_memory=False).state

    def plot(self, key: str = "/return/train", *, x: str = "frame", ax: Any = None, **style: Any) -> Any:
        """Draw the mean of a monitored value.

        Args:
            key: of `varlog`.
            x: field of the x-axis: "frame", "epoch" or "episode".
            ax: matplotlib axes; None takes the current ones.
            style: of matplotlib's `plot`, such as color; the label is the session's name.

        Returns:
            The axes.

        Raises:
            KeyError: if nothing was logged under that name.
            UsageError: if matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as err:
            raise UsageError("Plots need a package that is missing: pip install 'digideep[plot]'.") from err
        log = self.varlog
        ax = plt.gca() if ax is None else ax
        ax.plot(log[key][x], log.mean(key), **{"label": self.name} | style)
        ax.set(xlabel=x, ylabel=key)
        return ax

    def policy(self, checkpoint: str | int | None = None, device: str = "cpu", *, agent: str | None = None) -> "Policy":
        """Return the policy that `--play` plays: from raw observations to the environment's actions, one or a batch.

        Normalisation and the scaling of actions are part of it. Call its `reset()` where an episode begins.

        Args:
            checkpoint: its name, such as "best", or its epoch; None takes the newest valid one.
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

        Returns:
            A game of several players has PettingZoo's parallel API, and no time limit but its own.

        Raises:
            UsageError: if its module lies in a session, or this is not recognised as one: its files might be imported.
        """
        from digideep.environment.making.joined_actions import JoinedActions
        from digideep.environment.making.parallel_adapter import ParallelAdapter

        made = self.training_environment(render_mode)
        if isinstance(made, JoinedActions):
            return made.env
        return made.environment if isinstance(made, ParallelAdapter) else made

    def training_environment(self, render_mode: str | None = None) -> "gym.Env":
        """Make the environment as the training has it.

        A game has one observation and one action for all players; a Dict or Tuple of actions is one vector.
        """
        from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
        from digideep.parameters.component import build
        from digideep.parameters.tree import from_plain
        from digideep.utility.importing import session_of

        if session_of(self.path) is None:
            raise UsageError(f"{self.path} is no whole session: it has no checkpoints. No environment is made of it.")
        return make_environment(build(from_plain(self.params["env"]), EnvironmentSpec), render_mode=render_mode)


def _read_evaluation(file: Path) -> dict[str, Any]:
    found = read_json(file, dict)
    quantiles = found.get("quantiles")
    numbers = [found.get(name) for name in ("episodes", "mean", "std", "min", "max")]
    numbers += [quantiles.get(level) if isinstance(quantiles, dict) else None for level in ("0.05", "0.5", "0.95")]
    if not all(is_finite(number) for number in numbers):
        raise SessionError(f"{printable(str(file))} is no evaluation: a figure is missing or no number.")
    return found


def read_sessions(paths: Iterable[Path], *parts: str) -> list[Loader]:
    """Open sessions and read what is needed of each; one that is damaged is left out, with a line on stderr.

    Args:
        parts: names of the Loader's properties, such as "params" and "varlog".

    Raises:
        UsageError: if there are sessions, and all of them are damaged.
    """
    loaders, complaints = [], []
    for path in paths:
        try:
            loader = Loader(path)
            for part in parts:
                getattr(loader, part)
            loaders.append(loader)
        except UsageError as err:
            complaints.append(str(err))
    if complaints and not loaders:
        *others, last = complaints
        leave_out(others)
        raise UsageError(last)
    leave_out(complaints)
    return loaders


def leave_out(complaints: Iterable[str]) -> None:
    """Say which sessions are left out, and why."""
    for complaint in complaints:
        print(f"digideep: left out: {complaint}", file=sys.stderr)
