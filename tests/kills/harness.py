"""Runs that are killed again and again and resumed, beside one that nobody disturbs: `python -m tests.kills`.

A kill is SIGKILL for the program and whatever is in its process group. Its moment is drawn, but aimed: what a run does
is seen from outside, by its files and by the byte that `marked` environments write. Where a kill landed is judged
afterwards, by what it left behind.
"""

import contextlib
import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from digideep.pipeline.checkpoint import SESSION, list_checkpoints
from digideep.pipeline.segments import need_of
from digideep.pipeline.verify import compare_checkpoints
from tests.kills.marked import TESTS
from tests.kills.methods import EPOCHS, Method
from tests.support.helpers import ROOT

# How long after its sign a kill comes, at most.
PHASES = {
    "start-up": 2.5,  # before anything is touched: imports, mostly
    "first save": 0.25,  # the new session is made aside, and not renamed yet
    "resuming": 0.3,  # the session is held, the checkpoint being restored, the loop not begun
    "training": 0.1,
    "saving": 0.003,  # a segment or a checkpoint is half written
    "testing": 0.01,
    "ending": 0.05,  # after the last checkpoint
}
_MIDDLE = ("resuming", "training", "saving", "saving", "saving", "testing", "testing")
_POLL_S = 0.0002
_LIMIT_S = 180
_KILLED, _FINISHED_NOW, _FINISHED_BEFORE, _REFUSED = -signal.SIGKILL, 0, 3, 2


class Outcome(NamedTuple):
    """What came of killing runs. Args: kills: by phase; sessions: that came to their end; wrong: a line for each."""

    kills: Counter[str]
    sessions: int
    wrong: list[str]


def draw_aims(draw: random.Random) -> list[str]:
    """The phases in which a session is killed, in their order."""
    return ["start-up", "first save", *draw.sample(_MIDDLE, len(_MIDDLE)), "ending"]


class Victim:
    """A session whose process is started, watched and killed.

    Args:
        method: what it runs.
        session: its directory.
        draw: of the moments.
    """

    def __init__(self, method: Method, session: Path, draw: random.Random):
        self.method, self.session, self._draw = method, session, draw
        self._aside = session.with_name(f".{session.name}.new")
        self._report, self._begun_aside = session / "report.log", self._aside / "running.lock"
        self._mark, self.output = session.with_suffix(".mark"), session.with_suffix(".output")
        self._process: Any = None
        self._before: dict[Path, int] = {}
        self._was_held = False  # when it was killed

    def start(self) -> str | None:
        """Start or resume it, as docs/resume.md says: `--resume S || start`. Returns: what is wrong with that."""
        wrong = None
        if self._process is not None and not self.session.exists():
            self._launch("--resume", str(self.session))
            if (code := self.end(None)) != _REFUSED:
                wrong = f"to resume what is not there ended with {code}"
        if self.session.exists():
            self._launch("--resume", str(self.session))
        else:
            place = ["--session-path", str(self.session.parent), "--session-name", self.session.name]
            self._launch("--params", self.method.params, "--cpanel", json.dumps(self.method.cpanel), *place)
        return wrong

    def _launch(self, *arguments: str) -> None:
        self._mark.write_bytes(b"-")
        self._before = {path: _age(path) for path in (self._report, self._begun_aside)}
        quiet = ("--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")
        self._process = self.begin([*arguments, *quiet], {"KILLS_MARK": str(self._mark), "OMP_NUM_THREADS": "1"})

    def begin(self, arguments: list[str], environment: dict[str, str]) -> Any:
        """Start the program. Returns: its process, as one of `subprocess`."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "main.py", *arguments], cwd=ROOT, env={**os.environ, **environment},
                start_new_session=True, stdout=output, stderr=output,
            )  # fmt: skip

    def end(self, aim: str | None) -> int | None:
        """Wait for the moment to kill it, and do. Args: aim: a phase; None lets it end by itself.

        Returns:
            Its exit code, -9 if it was killed; None if it had to be, since it did not end.
        """
        deadline, place = time.monotonic() + _LIMIT_S, self._draw.choice(("checkpoints", "memory"))
        try:
            while (code := self._process.poll()) is None:
                if aim is not None and self._is_moment(aim, place):
                    time.sleep(self._draw.uniform(0, PHASES[aim]))
                    return self._kill()
                if time.monotonic() > deadline:
                    self._kill()
                    return None
                is_near = aim is not None and (aim == "first save" or self._is_held())
                time.sleep(_POLL_S if is_near else 0.01)
        except BaseException:  # a Ctrl-C of the terminal does not reach it
            self._kill()
            raise
        return code

    def _kill(self) -> int:
        self._was_held = self._is_held()
        self._process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _is_moment(self, aim: str, place: str) -> bool:
        if aim == "first save":
            return self._has_changed(self._begun_aside)
        if aim == "resuming":
            return self._is_held()
        if aim == "ending":
            return self._has_saved_all()
        if aim == "saving":
            # Where nothing is stored in segments, the checkpoint is all that there is to save.
            has_segments = place == "memory" and (self.session / place).is_dir()
            return self._has_begun() and bool(_unfinished(self.session / (place if has_segments else "checkpoints")))
        return aim == "start-up" or (self._has_begun() and (self._mark.read_bytes() == TESTS) == (aim == "testing"))

    def phase(self) -> str:
        """Where a kill has landed, by the files that it left."""
        if not self.session.exists():
            return "first save" if self._has_changed(self._begun_aside) else "start-up"
        if not self._has_begun():
            return "resuming" if self._was_held else "start-up"
        if any(_unfinished(self.session / place) for place in ("checkpoints", "memory")) or self._has_spare_segment():
            return "saving"
        if self._has_saved_all():
            return "ending"
        return "testing" if self._mark.read_bytes() == TESTS and not self._has_logged_test() else "training"

    def _is_held(self) -> bool:
        """True if the process has the lock of the session open."""
        opened = Path(f"/proc/{self._process.pid}/fd")
        with contextlib.suppress(FileNotFoundError):  # it may be closed, or the process gone, before one looks
            return any(os.readlink(each) == str(self.session / "running.lock") for each in opened.iterdir())
        return False

    def _has_begun(self) -> bool:
        return self._has_changed(self._report)

    def _has_changed(self, path: Path) -> bool:
        return _age(path) != self._before[path]

    def _has_saved_all(self) -> bool:
        return (self.session / f"checkpoints/checkpoint-{EPOCHS}").is_dir()

    def _figures(self) -> dict[str, Any]:
        return json.loads((list_checkpoints(self.session / "checkpoints")[-1] / SESSION).read_text())

    def _has_spare_segment(self) -> bool:
        """True if there is a segment for a checkpoint that was not written any more."""
        newest = need_of(self._figures()).newest
        ends = [int(path.name.split("-")[2]) for path in (self.session / "memory").glob("segment-*")]
        return max(ends, default=0) > (newest.end if newest is not None else 0)

    def _has_logged_test(self) -> bool:
        logs = self._figures()["logs"]
        files = [str(path.relative_to(self.session)) for path in self.session.glob("monitor/test.*")]
        return any((self.session / name).stat().st_size != logs.get(name) for name in files)


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _unfinished(directory: Path) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith((".writing", ".old"))]
    except FileNotFoundError:
        return []


def kill_and_resume(victim: Victim, aims: Iterable[str]) -> Outcome:
    """Kill a run in the phases that are named, resume it each time, and let it end."""
    kills: Counter[str] = Counter()
    for aim in [*aims, None]:
        if (wrong := victim.start()) is not None:
            return Outcome(kills, 0, [wrong])
        code = victim.end(aim)
        if code == _KILLED:
            kills[victim.phase()] += 1
        elif code in (_FINISHED_NOW, _FINISHED_BEFORE):
            return Outcome(kills, 1, [])
        else:
            said = victim.output.read_text().strip().splitlines() or ["nothing"]
            return Outcome(kills, 0, [f"it ended with {code} and said: {said[-1]}"])
    raise AssertionError("who is not killed comes to an end")


def torment(method: Method, base: Path, wanted: int, draw: random.Random) -> Outcome:
    """Kill runs of a method until that was done often enough, and compare each with one left alone.

    Args:
        method: what is run.
        base: a directory for the sessions.
        wanted: kills, at least.
        draw: of their moments.
    """
    straight = Victim(method, base / "straight", draw)
    whole = kill_and_resume(straight, [])
    if whole.wrong:
        return whole
    kills: Counter[str] = Counter()
    wrong: list[str] = []
    sessions = 0
    while kills.total() < wanted and not wrong:
        victim = Victim(method, base / f"killed-{sessions}", draw)
        outcome = kill_and_resume(victim, draw_aims(draw)[: wanted - kills.total()])
        kills, sessions = kills + outcome.kills, sessions + outcome.sessions
        wrong += outcome.wrong or list(differences(straight, victim))
    return Outcome(kills, sessions, wrong)


# ---------------------------------------------------------------------- comparing


def differences(straight: Victim, killed: Victim) -> Iterator[str]:
    """What is not the same in two sessions that came to their end, wall-clock figures aside."""
    ours, theirs = (_contents(victim.session) for victim in (straight, killed))
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield f"{name} differs" if name in ours and name in theirs else f"{name} is in one of them only"
    for path in list_checkpoints(straight.session / "checkpoints"):
        if not (killed.session / "checkpoints" / path.name).is_dir():
            continue  # said already
        different, total = compare_checkpoints(path, killed.session / "checkpoints" / path.name)
        yield from (f"{path.name}: {name}" for name in different)
        if total < 50:
            yield f"{path.name} holds {total} values only"
    for line in killed.output.read_text().splitlines():
        if re.search(r"Skipping|aside|Traceback|not exact", line):
            yield f"it said: {line}"


def _contents(session: Path) -> dict[str, Any]:
    """Each file of a session, and what of it has to repeat itself: figures, but not when they were taken."""
    found: dict[str, Any] = {}
    content: Any
    for path in (path for path in session.rglob("*") if not path.is_dir()):
        name, content = str(path.relative_to(session)), ""
        if path.name in ("varlog.json", "prolog.json"):
            content = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".csv":
            content = list(csv.DictReader(path.read_text().splitlines()[1:]))
            for row in content:
                row.pop("t")
        elif "best/" in name and path.name not in ("session.json", "manifest.json"):
            content = path.read_bytes()
        found[name] = content
    return found


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in line["meta"].items() if key != "clock"}
    data = {key: figures for key, figures in line["data"].items() if not key.startswith("/speed/")}
    return {"meta": meta, "data": {key: {**figures, "totals": None} for key, figures in data.items()}}
