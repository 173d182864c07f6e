"""The journal of a sweep: Optuna's own file of JSON lines, in which what belongs together ends with a mark.

Optuna appends each change to it. Whoever goes on with a sweep cuts off what comes after the last mark, and does it
again: with the same seeds, hence with the same values and the same numbers.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import open_regular
from digideep.utility.text import one_line, parse_json

MARK = "committed"  # an attribute of the study: how often something was brought to its end
_SET_STUDY_USER_ATTR = 2  # the operation's number in a journal


class _NoLock:
    """A lock of Optuna's journals that is none: the process has the sweep's directory for itself.

    Optuna's own is a file. Where a process is killed that holds it, the next one waits for half a minute.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def open_storage(journal: Path | None) -> Any:
    """Return a storage of Optuna's, in a file or in memory."""
    if journal is None:
        return import_module("optuna.storages").InMemoryStorage()
    package = import_module("optuna.storages.journal")
    return package.JournalStorage(package.JournalFileBackend(str(journal), _NoLock()))


def cut_journal(journal: Path) -> None:
    """Cut off what comes after the last mark, such as half a line that was being written when a process was killed.

    Raises:
        UsageError: if there is no such line before it, or the file cannot be read.
    """
    whole = position = 0
    broken: tuple[int, str] | None = None
    if not os.path.lexists(journal):
        return
    try:
        with open_regular(journal, follows_links=False) as file:
            for number, line in enumerate(file, 1):
                position += len(line)
                try:
                    entry = parse_json(line.decode())
                    is_mark = entry["op_code"] == _SET_STUDY_USER_ATTR and MARK in entry["user_attr"]
                except (ValueError, KeyError, TypeError) as err:
                    broken = broken or (number, one_line(str(err)))
                    continue
                if is_mark and line.endswith(b"\n") and broken is not None:
                    raise UsageError(
                        f"{journal}, line {broken[0]}, is no line of a journal of Optuna's ({broken[1]}). Put the file "
                        "back as it was, or begin a sweep elsewhere with --name."
                    )
                whole = position if is_mark and line.endswith(b"\n") else whole
    except SessionError as err:
        raise UsageError(str(err)) from err
    if whole < position:
        os.truncate(journal, whole)


@contextlib.contextmanager
def quietly() -> Iterator[Any]:
    """Let Optuna say nothing meanwhile; what it would warn of, such as experimental features, is chosen here."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(logging.CRITICAL)
        try:
            yield optuna
        finally:
            optuna.logging.set_verbosity(before)
