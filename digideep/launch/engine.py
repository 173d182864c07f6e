"""Jobs, and what runs them: a job is a session to begin or to go on with, an engine has places for some of them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from digideep.utility.text import parse_json


@dataclass(frozen=True)
class Job:
    """A session that is to be begun, or gone on with where it stopped.

    Whoever starts it says the same each time: what is there already decides what is done, see `words`.

    Attributes:
        session: its directory, which need not exist; absolute.
        params: the parameter file it begins with, as `--params` takes it.
        cpanel, repeal: values that differ from the file's, as for the flags.
        begin: further words of `digideep train`, such as ("--msg", "a note").
        flags: words for both `digideep train` and `digideep resume`, such as ("--device", "cpu").
        stop_after: finished epochs of the run, not of this process, at which it stops; None runs to the end.
        threads: of torch, as its parameter tree says; libraries that choose a number themselves are told the same.
    """

    session: Path
    params: str
    cpanel: Mapping[str, Any] = field(default_factory=dict)
    repeal: Mapping[str, Any] = field(default_factory=dict)
    begin: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    stop_after: int | None = None
    threads: int = 1

    @property
    def name(self) -> str:
        """Name of its session."""
        return self.session.name

    @property
    def log(self) -> Path:
        """The file that gets what its process prints: `output/<name>.log` beside the session."""
        return self.session.parent / "output" / f"{self.name}.log"

    def is_begun(self) -> bool:
        """True if its session is there: it appears as a whole."""
        return (self.session / "params.yaml").exists()

    def may_begin(self) -> bool:
        """True if the session is there, or can be made: nothing else is in its place."""
        return self.is_begun() or not os.path.lexists(self.session)

    def words(self) -> list[str]:
        """Return what a person would type after `digideep`: `train …`, or `resume …` once the session is there."""
        flags = [*self.flags, *(["--stop-after", str(self.stop_after)] if self.stop_after is not None else [])]
        if self.is_begun():
            return ["resume", str(self.session), *flags]
        place = ["--session-path", str(self.session.parent), "--session-name", self.name]
        given = {"cpanel": self.cpanel, "repeal": self.repeal}
        values = [word for name, value in given.items() if value for word in (f"--{name}", json.dumps(dict(value)))]
        return ["train", self.params, *values, *place, *self.begin, *flags]

    def to_json(self) -> str:
        """Return the job on one line, for `from_json` in another process."""
        return json.dumps({**asdict(self), "session": str(self.session)})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Return the job of `to_json`."""
        values = parse_json(text)
        lists = {name: tuple(values[name]) for name in ("begin", "flags")}
        return cls(**{**values, **lists, "session": Path(values["session"])})


class Ended(NamedTuple):
    """A job whose process has ended.

    Attributes:
        job: as it was started.
        code: its exit code, as `digideep` has them: 0 done, 2 refused, 3 done before, 75 stopped with a checkpoint;
            negative: the signal that killed it.
        reason: why it failed, in a line; empty if it did not.
    """

    job: Job
    code: int
    reason: str = ""


class Engine(Protocol):
    """Somewhere that jobs run. It starts, watches and stops them; which and in what order, its caller knows.

    A job's process ends with the engine's own, even if that is killed: it stops as by SIGTERM, with a checkpoint.
    """

    @property
    def free(self) -> int:
        """Jobs that may be started now."""

    def start(self, job: Job) -> None:
        """Begin to run a job. There must be a place that is free."""

    def wait(self, timeout_s: float) -> list[Ended]:
        """Wait until a job has ended, or the time is over. Returns: those that have ended since the last call."""

    def stop(self) -> list[Ended]:
        """Let all jobs stop, each with a checkpoint; kill those that do not. Safe to call again.

        Returns:
            All that have ended since the last call: nothing runs any more.
        """
