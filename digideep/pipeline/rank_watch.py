"""Watch over the ranks of a run: none trains on, or waits for ever, when another one has died or hangs."""

import contextlib
import json
import os
import platform
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks
from digideep.utility.text import one_line

_BEAT_S = 0.5  # from one note of a rank to the next
_SILENT_S = 20.0  # without any note, after which a rank is lost: it was stopped, or its machine is gone
_GRACE_S = 5.0  # for a rank to end by itself, once another one has failed
_TELL_S = 3.0  # for rank 0 to say what this rank has to say too


class RankWatch:
    """Leaves a note of this rank in the ranks' store twice a second, and reads those of the others, in a thread.

    A rank that has failed leaves its reason; one that hangs in a step ends itself with where it hangs; one that is
    silent is ended by the others. torchrun, which keeps the store, has itself been killed when that is gone.

    Where there is one rank, nothing is watched, and nobody is told anything.

    Args:
        ranks: of the run.
        on_orphaned: called with a reason when torchrun is gone: nobody would end this rank any more.

    Attributes:
        patience_s: how long a rank may simulate without completing a step.
        reason: why the run cannot go on; None while it can.
    """

    def __init__(self, ranks: Ranks, on_orphaned: Callable[[str], Any]):
        self._ranks, self._on_orphaned, self.patience_s = ranks, on_orphaned, 40.0
        self.reason: str | None = None
        self._end: str | None = None  # what this rank says last; "" if all is well
        self._ticks, self._stopped, self._lock = 0, threading.Event(), threading.Lock()
        self._notes: dict[int, dict[str, Any]] = {}
        self._thread: threading.Thread | None = None
        self._store: Any = None

    def start(self) -> None:
        """Begin to watch. The ranks are connected."""
        if self._ranks.size > 1:
            self._ranks.check = self._require_all
            self._store = self._ranks.open_store()  # a connection of its own: others may be waiting in the first one
            self._leave_note()
            self._thread = threading.Thread(target=self._run, daemon=True, name="digideep-ranks")
            self._thread.start()

    def fail(self, error: BaseException | str) -> None:
        """Tell the other ranks, and torchrun, why this one ends. What rank 0 says too is said by it alone."""
        if self._thread is None:
            return
        reason = one_line(str(error)) or type(error).__name__
        self._say(reason)
        if isinstance(error, UsageError):
            error.is_said = self._is_said_by_first(reason)

    def refuse(self, error: BaseException) -> BaseException:
        """Return what this rank ends with instead of an error before anything is written, and tell the other ranks."""
        if (lost := self.explain(error)) is not None:
            refusal = UsageError(lost)
            refusal.is_said = True  # by the rank whose mistake it is
            return refusal
        if isinstance(error, OSError):
            error = UsageError(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.")
        self.fail(error)
        return error

    def _say(self, reason: str) -> None:
        """Leave the last word. Args: reason: "" if all is well."""
        self._end = reason
        with contextlib.suppress(RuntimeError):
            self._leave_note()
        file = os.environ.get("TORCHELASTIC_ERROR_FILE")
        if reason and file:  # as torch.distributed.elastic.multiprocessing.errors writes it
            message = {"message": reason, "extraInfo": {"py_callstack": "", "timestamp": str(int(time.time()))}}
            with contextlib.suppress(OSError):
                Path(file).write_text(json.dumps({"message": message}), encoding="utf-8")

    def _is_said_by_first(self, text: str) -> bool:
        """True if rank 0 ends with the same words, within seconds."""
        deadline = time.monotonic() + _TELL_S
        while not self._ranks.is_first and time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):
                self._read_notes()
            if (said := self._notes.get(0, {}).get("end")) is not None:
                return bool(said == text)
            time.sleep(_BEAT_S / 10)
        return False

    def explain(self, error: BaseException) -> str | None:
        """Return which rank has failed, and why, if that is the cause of this error; None if it is this rank's own."""
        if self._thread is None or not isinstance(error, RuntimeError):
            return None
        if not re.search("gloo|nccl|ProcessGroup", str(error), re.IGNORECASE):
            return None
        deadline = time.monotonic() + _GRACE_S
        while self.reason is None and time.monotonic() < deadline:
            time.sleep(_BEAT_S / 10)
        return self.reason or "another rank has ended without a word."

    def _require_all(self) -> None:
        """Raise an error that `explain` explains, if another rank is lost."""
        if self.reason is not None:
            raise RuntimeError("ProcessGroup: another rank is lost.")

    def stop(self) -> None:
        """Say that this rank ends as it should, and watch no longer. Safe to call again."""
        if self._thread is not None and not self._stopped.is_set():
            if self._end is None:
                self._say("")
            self._stopped.set()
            self._thread.join(_GRACE_S)

    # ------------------------------------------------------------------ in the thread

    def _leave_note(self) -> None:
        with self._lock:
            self._ticks += 1
            note = {"tick": self._ticks, "end": self._end, "pid": os.getpid(), "machine": platform.node()}
            self._store.set(f"note/{self._ranks.rank}", json.dumps(note))

    def _read_notes(self) -> None:
        with self._lock:
            for rank in range(self._ranks.size):
                if rank != self._ranks.rank and self._store.check([f"note/{rank}"]):
                    self._notes[rank] = json.loads(self._store.get(f"note/{rank}"))

    def _run(self) -> None:
        heard = {rank: (0, time.monotonic()) for rank in range(self._ranks.size)}
        moved = (-1, time.monotonic())
        while not self._stopped.wait(_BEAT_S):
            try:
                self._leave_note()
                self._read_notes()
            except RuntimeError:  # the store is gone
                if not self._stopped.is_set():
                    self._on_orphaned("torchrun has ended")
                return None
            now, steps = time.monotonic(), self._ranks.steps
            if self._ranks.is_waiting or steps != moved[0]:
                moved = (steps, now)
            elif now - moved[1] > self.patience_s:
                return self._give_up(f"it has been in one step for {self.patience_s:.0f} s, {_place()}", is_own=True)
            for rank, note in self._notes.items():
                if note["tick"] != heard[rank][0] or note["end"] == "":
                    heard[rank] = (note["tick"], now)
                if note["end"]:
                    return self._give_up(f"rank {rank} has failed: {note['end']}")
                if note["end"] is None and note["machine"] == platform.node() and not _is_alive(note["pid"]):
                    return self._give_up(f"rank {rank} died: it was killed, or ran out of memory")
                if now - heard[rank][1] > _SILENT_S:
                    if note["machine"] == platform.node():
                        with contextlib.suppress(OSError):
                            os.kill(note["pid"], getattr(signal, "SIGKILL", signal.SIGTERM))
                    return self._give_up(f"rank {rank} died or was stopped: it was silent for {_SILENT_S:.0f} s")
        return None

    def _give_up(self, reason: str, *, is_own: bool = False) -> None:
        """End this process, if it does not by itself: its main thread may wait for ever."""
        self.reason = reason
        if is_own:
            self._say(reason)
        elif self._stopped.wait(_GRACE_S):
            return
        if is_own or self._ranks.is_first:
            with contextlib.suppress(Exception):
                print(f"digideep: rank {self._ranks.rank}: {reason}.", file=sys.stderr, flush=True)
        os._exit(1)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _place() -> str:
    """Say where the main thread is."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    place = traceback.extract_stack(frame)[-1]
    return f"in {place.name} ({place.filename}:{place.lineno})"
