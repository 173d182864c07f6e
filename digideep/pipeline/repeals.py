"""`repeal.json`: what each --repeal changed in a session's parameters, and from which epoch on."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from digideep.utility.errors import SessionError
from digideep.utility.files import is_finite, read_json
from digideep.utility.own_files import remove
from digideep.utility.text import printable

NAME = "repeal.json"


def read_repeals(session: Path) -> list[dict[str, Any]]:
    """Return the changes in force: {"epoch": finished epochs by then, "repeal": {path: value}}, oldest first.

    What was taken back since, by resuming a checkpoint before it, is left out.

    Raises:
        SessionError: if the file is damaged.
    """
    file = session / NAME
    notes: list[dict[str, Any]] = []
    for note in read_json(file, list) if os.path.lexists(file) else []:
        is_note = isinstance(note, dict) and is_finite(note.get("epoch")) and isinstance(note.get("repeal"), dict)
        if not is_note:
            raise SessionError(f"{printable(str(file))} must hold objects with an epoch and a repeal.")
        notes = [*(earlier for earlier in notes if earlier["epoch"] <= note["epoch"]), note]
    return notes


def note_repeal(session: Path, epoch: int, repeal: dict[str, Any], loaded: dict[str, Any]) -> None:
    """Note what changes from here on, and forget what the checkpoint that is resumed takes back.

    Args:
        epoch: finished epochs.
        loaded: plain tree of the checkpoint that is resumed; empty for a new run.
    """
    file = session / NAME
    try:
        before = read_repeals(session)
    except SessionError as err:
        logging.getLogger("digideep").warning("%s It is set aside as %s.broken.", err, NAME)
        file.replace(file.with_name(f"{NAME}.broken"))
        before = []
    notes = []
    for note in before:
        # A checkpoint of the note's own epoch may have been written before it.
        kept = {
            path: value
            for path, value in note["repeal"].items()
            if note["epoch"] < epoch or (note["epoch"] == epoch and _value_at(loaded, path) == value)
        }
        notes += [{**note, "repeal": kept}] if kept else []
    notes += [{"epoch": epoch, "repeal": repeal}] if repeal else []
    if notes != before:
        aside = session / f".{NAME}.writing"
        remove(aside)  # were it a link, this would write where it leads
        aside.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
        aside.replace(file)


def _value_at(tree: Any, path: str) -> Any:
    for key in path.strip("/").split("/"):
        tree = tree.get(key) if isinstance(tree, dict) else tree[int(key)] if isinstance(tree, list) else None
    return tree


def replace_value(tree: dict[str, Any], path: str, value: Any) -> None:
    """Put a value into a plain tree, as --repeal did. Raises: LookupError: if there is no such place."""
    *parents, last = path.strip("/").split("/")
    node: Any = tree
    try:
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        node[int(last) if isinstance(node, list) else last] = value
    except (LookupError, ValueError, TypeError) as err:
        raise LookupError(path) from err
