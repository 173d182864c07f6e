"""Ways to damage a session: each changes a copy of one, in place, by the draws of a seeded generator.

A mutation is a function of (draw, session, outside) that returns what it did, in words. `outside` is a directory that
nothing may touch; links lead there. A file `x.py` lies in each session: whoever runs it leaves a mark.
"""

import hashlib
import json
import os
import pickle
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from digideep.pipeline.checkpoint import list_checkpoints

Mutation = Callable[[random.Random, Path, Path], str]
CHECKPOINT = ("states.safetensors", "runner.json", "session.json", "manifest.json")
LOGS = ("varlog.json", "prolog.json", "report.log", "running.lock", "params.yaml", "cpanel.json", "repeal.json")
VALUES: tuple[Any, ...] = (
    None, "x", "", -3, 0, 1, 7.5, True, 10**12, 10**30, float("inf"), float("nan"), [], [[1, 2]], {},
    {"class": "os.system"}, "../../outside/victim", "s.x:Id-v0", "s.x.X", "s.x", "...x", "os:system",
)  # fmt: skip
CODE = 'import os\nopen(os.environ["DAMAGE_MARK"], "w").write("code of the session ran")\nclass X: pass\n'


class Bomb:
    """Unpickling this leaves the mark."""

    def __reduce__(self):
        return (open, (os.environ["DAMAGE_MARK"], "w"))


def sign(checkpoint: Path) -> None:
    """Make the manifest agree with the files again, as somebody would who knows how checkpoints work."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        data = (checkpoint / name).read_bytes()
        entry.update(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


# ---------------------------------------------------------------------- files


def _truncate(draw, path, outside):
    os.truncate(path, draw.randrange(max(path.stat().st_size, 1)))


def _flip(draw, path, outside):
    data = bytearray(path.read_bytes() or b"x")
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _empty(draw, path, outside):
    path.write_bytes(b"")


def _delete(draw, path, outside):
    path.unlink()


def _garbage(draw, path, outside):
    path.write_bytes(draw.randbytes(draw.randrange(1, 400)))


def _pickle(draw, path, outside):
    path.write_bytes(pickle.dumps(Bomb()))


def _nested(draw, path, outside):
    path.write_text("[" * 100_000 + "]" * 100_000)


def _deep(draw, path, outside):
    path.write_text('{"a": ' * 400 + "1" + "}" * 400)


def _grow(draw, path, outside):
    os.truncate(path, 2**40)


def _pipe(draw, path, outside):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _socket(draw, path, outside):
    path.unlink(missing_ok=True)
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def _directory(draw, path, outside):
    path.unlink(missing_ok=True)
    path.mkdir()


def _link(draw, path, outside):
    path.unlink(missing_ok=True)
    path.symlink_to(outside / draw.choice(("victim", path.name)))


def _hard_link(draw, path, outside):
    victim = outside / "victim"
    shutil.copy(path, victim) if path.exists() else None
    path.unlink(missing_ok=True)
    os.link(victim, path)


def _loop(draw, path, outside):
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


FILE_DAMAGES = (
    _truncate,
    _flip,
    _empty,
    _delete,
    _garbage,
    _pickle,
    _nested,
    _deep,
    _grow,
    _pipe,
    _socket,
    _directory,
    _link,
    _hard_link,
    _loop,
)


def _files(session: Path) -> dict[str, list[Path]]:
    """Files by what they are for."""
    checkpoints = list_checkpoints(session / "checkpoints")
    newest = checkpoints[-1]
    return {
        "newest": [newest / name for name in CHECKPOINT],
        "older": [path / name for path in checkpoints[:-1] for name in CHECKPOINT],
        "best": list((session / "checkpoints/best").glob("*")),
        "segment": sorted(path for path in (session / "memory").glob("segment-*")),
        "log": [session / name for name in LOGS],
        "monitor": sorted((session / "monitor").glob("*.csv")),
        "package": [session / "__init__.py", session / "saam.py", session / "done.lock"],
    }


def damage_file(draw: random.Random, session: Path, outside: Path) -> str:
    """One file, of any kind, damaged in any way."""
    kind, paths = draw.choice([item for item in _files(session).items() if item[1]])
    path, damage = draw.choice(paths), draw.choice(FILE_DAMAGES)
    if not path.exists() and damage in (_truncate, _flip, _delete, _grow):
        damage = _garbage
    damage(draw, path, outside)
    return f"{damage.__name__[1:]} {kind} {path.relative_to(session)}"


def swap_files(draw: random.Random, session: Path, outside: Path) -> str:
    """Two files of the same name of two checkpoints, or two segments."""
    files = _files(session)
    first = draw.choice(files["newest"] + files["segment"])
    others = [path for path in files["older"] + files["segment"] if path != first and path.suffix == first.suffix]
    second = draw.choice(others)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    return f"swap {first.relative_to(session)} {second.relative_to(session)}"


# ---------------------------------------------------------------------- directories


def damage_directory(draw: random.Random, session: Path, outside: Path) -> str:
    """A directory gone, or something else in its place."""
    newest = list_checkpoints(session / "checkpoints")[-1].name
    name = draw.choice(
        ("checkpoints", f"checkpoints/{newest}", "memory", "monitor", "modules", "tensorboard", "videos", "evaluations",
         "memory/ring", "exports", "plots", "checkpoints/checkpoint-9", "checkpoints/best", "customs", "report.html")
    )  # fmt: skip
    path = session / name
    kind = draw.choice(("gone", "file", "pipe", "link"))
    target = outside / "like" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.move(path, target)
    elif target.suffix:
        target.write_text("precious")
    else:
        target.mkdir()
    if kind == "file":
        path.write_text("x")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(target)
    return f"{kind} directory {name}"


def leave_something(draw: random.Random, session: Path, outside: Path) -> str:
    """What a killed process, or somebody else, left behind."""
    checkpoints = session / "checkpoints"
    newest = list_checkpoints(checkpoints)[-1]
    kind = draw.choice(
        ("old", "writing", "copy", "empty", "links within", "unfinished segment", "backwards", "links aside")
    )
    if kind in ("old", "writing"):
        shutil.copytree(newest, checkpoints / f".{draw.choice((newest.name, 'checkpoint-1', 'best'))}.{kind}")
    elif kind == "copy":
        shutil.copytree(newest, checkpoints / draw.choice(("checkpoint-99", "checkpoint-3+1", "checkpoint-0003")))
    elif kind == "empty":
        (checkpoints / "checkpoint-98").mkdir()
    elif kind == "links within":
        (checkpoints / "checkpoint-97").symlink_to(newest.name)
        (session / "back").symlink_to("..")
    elif kind == "links aside":
        (session / "exports").mkdir()
        for name in (".repeal.json.writing", ".varlog.json.copy", "exports/.writing-policy.pt", ".report.html.writing"):
            (session / name).symlink_to(outside / "victim")
    elif kind == "unfinished segment":
        (session / "memory").mkdir(exist_ok=True)
        (session / "memory/.segment-1-2-abc.safetensors.writing").write_text("x")
        (session / "memory/segment-1-2-abc.safetensors").write_text("x")
    else:
        shutil.rmtree(newest)
        newest.mkdir()
    return f"left {kind}"


# ---------------------------------------------------------------------- right hashes over wrong contents


def _leaves(tree: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values, those that hold others too."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree[:3]) if isinstance(tree, list) else ()
    return [*([path] if path else []), *(leaf for key, value in inner for leaf in _leaves(value, (*path, key)))]


def _set(tree: Any, path: tuple, value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


def reseal_value(draw: random.Random, session: Path, outside: Path) -> str:
    """One value of a checkpoint's JSON replaced, the hash made right again."""
    checkpoint = list_checkpoints(session / "checkpoints")[draw.choice((-1, -1, -1, -2))]
    name = draw.choice(("runner.json", "runner.json", "session.json", "manifest.json"))
    content = json.loads((checkpoint / name).read_text())
    part = draw.choice(sorted(content))  # so that a large part is not drawn more often than a small one
    path = draw.choice([leaf for leaf in _leaves(content) if leaf[0] == part])
    value = draw.choice(VALUES)
    _set(content, path, value)
    (checkpoint / name).write_text(json.dumps(content))
    if name != "manifest.json":
        sign(checkpoint)
    return f"reseal {checkpoint.name} {name} {'/'.join(map(str, path))} = {value!r}"


def reseal_missing(draw: random.Random, session: Path, outside: Path) -> str:
    """One value of a checkpoint's JSON taken away."""
    checkpoint = list_checkpoints(session / "checkpoints")[-1]
    content = json.loads((checkpoint / "runner.json").read_text())
    *parents, last = draw.choice([p for p in _leaves(content) if isinstance(p[-1], str)])
    inner = content
    for key in parents:
        inner = inner[key]
    del inner[last]
    (checkpoint / "runner.json").write_text(json.dumps(content))
    sign(checkpoint)
    return f"reseal without {'/'.join(map(str, [*parents, last]))}"


def reseal_array(draw: random.Random, session: Path, outside: Path) -> str:
    """One array of a checkpoint, or of a segment, of another shape or kind, or gone."""
    checkpoint = list_checkpoints(session / "checkpoints")[-1]
    file = checkpoint / "states.safetensors"
    arrays = load_arrays(file.read_bytes())
    key = draw.choice(sorted(arrays))
    array = arrays.pop(key)
    kind = draw.choice(("gone", "shape", "kind", "nan", "empty"))
    if kind == "shape":
        arrays[key] = np.zeros((*array.shape, 2), array.dtype)
    elif kind == "kind":
        arrays[key] = array.astype(np.int16)
    elif kind == "nan":
        arrays[key] = np.full(array.shape, np.nan, np.float32) if array.dtype == np.float32 else array[..., :0]
    elif kind == "empty":
        arrays[key] = np.zeros((0,), array.dtype)
    file.write_bytes(save_arrays(arrays))
    sign(checkpoint)
    return f"reseal array {kind} {key}"


def reseal_segment(draw: random.Random, session: Path, outside: Path) -> str:
    """The newest segment with other arrays in it, or another predecessor, and the right hash."""
    checkpoint = list_checkpoints(session / "checkpoints")[-1]
    content = json.loads((checkpoint / "session.json").read_text())
    newest = content["memory"]["newest"]
    (path,) = (session / "memory").glob(f"segment-{newest[0]}-{newest[1]}-{newest[3][:12]}*")
    arrays = load_arrays(path.read_bytes())
    kind = draw.choice(("one gone", "all gone", "shape", "itself", "no predecessor", "a wrong one", "text", "span"))
    before = {"itself": newest, "a wrong one": [0, newest[1], 5, "0" * 64], "text": "x"}.get(kind)
    if kind == "one gone":
        del arrays[draw.choice(sorted(arrays))]
    elif kind == "all gone":
        arrays = {}
    elif kind == "shape":
        arrays = {key: array[:, :1] for key, array in arrays.items()}
    elif kind == "span":
        newest[:2] = [newest[1] + 5, newest[1] + 7]
    data = save_arrays({k: np.ascontiguousarray(a) for k, a in arrays.items()}, {"before": json.dumps(before)})
    newest[2:] = [len(data), hashlib.sha256(data).hexdigest()]
    (session / f"memory/segment-{newest[0]}-{newest[1]}-{newest[3][:12]}.safetensors").write_bytes(data)
    (checkpoint / "session.json").write_text(json.dumps(content))
    sign(checkpoint)
    return f"reseal segment {kind}"


# ---------------------------------------------------------------------- plain files of values


def damage_values(draw: random.Random, session: Path, outside: Path) -> str:
    """One value of a plain file replaced."""
    import yaml

    name = draw.choice(("params.yaml", "params.yaml", "cpanel.json", "varlog.json", "prolog.json"))
    file, value = session / name, draw.choice(VALUES)
    lines = file.read_text().splitlines()
    row = draw.randrange(len(lines))
    content = (
        yaml.safe_load(file.read_text())
        if name.endswith("yaml")
        else json.loads(lines[row] if "log" in name else file.read_text())
    )
    path = draw.choice(_leaves(content))
    _set(content, path, value)
    if name.endswith("yaml"):
        text = yaml.safe_dump(content)
    elif "log" in name:
        text = "\n".join([*lines[:row], json.dumps(content), *lines[row + 1 :]]) + "\n"
    else:
        text = json.dumps(content)
    file.write_text(text)
    return f"{name} {'/'.join(map(str, path))} = {value!r}"


def damage_text(draw: random.Random, session: Path, outside: Path) -> str:
    """A plain file that means something else."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    texts = {
        "alias bomb": bomb, "list": "[]", "number": "7", "empty object": "{}", "null": "null",
        "not UTF-8": b"\xff\xfe\x00{}", "unfinished": '{"meta": {"epoch"',
        "python tag": "!!python/object/apply:os.system ['echo > \"$DAMAGE_MARK\"']", "escape": '"\x1b[31m[/red]"',
        "lines": '[]\n{}\n{"meta": 1, "data": 2}\n{"meta": {}, "data": {"/a": {}}}\n',
    }  # fmt: skip
    kind = draw.choice(sorted(texts))
    name = draw.choice(("params.yaml", "params.yaml", "cpanel.json", "varlog.json", "prolog.json", "repeal.json"))
    text = texts[kind]
    (session / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"{kind} as {name}"


MUTATIONS: tuple[Mutation, ...] = (
    damage_file, damage_file, damage_file, swap_files, damage_directory, damage_directory, leave_something,
    reseal_value, reseal_value, reseal_value, reseal_missing, reseal_array, reseal_segment, damage_values, damage_text,
)  # fmt: skip


# ---------------------------------------------------------------------- permissions, seen by another user


def forbid(draw: random.Random, session: Path, outside: Path) -> str:
    """Something that its reader may not read, write or enter."""
    files = [path for paths in _files(session).values() for path in paths if path.exists()]
    newest = list_checkpoints(session / "checkpoints")[-1]
    directories = [session, newest, *(session / name for name in ("checkpoints", "memory", "monitor"))]
    path = draw.choice((draw.choice(files), draw.choice(directories), session / "running.lock"))
    kind = draw.choice(("nothing", "no writing", "of another owner"))
    if kind == "of another owner":
        os.chown(path, 0, 0)
        path.chmod(0o700 if path.is_dir() else 0o600)
    else:
        path.chmod(0o000 if kind == "nothing" else 0o500 if path.is_dir() else 0o400)
    return f"{kind} for {path.relative_to(session)}"
