"""Damaged sessions, and what the program makes of each: `python -m tests.damage [-n 250] [--seed 0]`.

Every command runs in a forked process, on a copy of its own. What is asked of it: it ends within 30 seconds, without a
Python traceback; no code of the session runs; nothing outside the session changes; no checkpoint that was there is
deleted, though it may have another name; and a command that is refused changes nothing.
"""

import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.damage.mutations import CODE, MUTATIONS, Mutation, forbid
from tests.support.forked import LIMIT_S, in_child

ROOT = Path(__file__).parents[2]
OTHER_USER = 65534
COMMANDS = ("resume", "play", "sessions", "report", "plotter", "export", "loader")
_QUIET = ("--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")
_COMMON = {"number_epochs": 4, "epoch_size": 1, "num_workers": 2, "n_steps": 16, "save_interval": 1, "compile": "off",
           "test_interval": 2, "test_win_size": 1, "keep_checkpoints": None}  # fmt: skip
_REPLAY = {
    "memory_size_in_chunks": 40,
    "warm_start": 16,
    "batch_size": 8,
    "n_steps": 2,
    "epoch_size": 8,
    "hidden_sizes": [8, 8],
}


class Fault(NamedTuple):
    """Something that should not have happened."""

    mutation: str
    command: str
    what: str


def train(base: Path) -> list[Path]:
    """Two sessions that were stopped before their last epoch: PPO, and SAC with segments."""
    # With the imports done, a forked command takes half a second.
    for module in ("pipeline.runner", "post.report", "post.plotter", "post.export", "post.policy", "post.sessions"):
        importlib.import_module(f"digideep.{module}")
    for module in ("matplotlib.pyplot", "gymnasium.envs.classic_control"):
        importlib.import_module(module)
    sysconfig.get_config_vars()  # what it imports may lie where another user may not read
    base.mkdir()
    made = []
    for name, params, panel in (("ppo", "ppo_classic", {}), ("sac", "sac_classic", _REPLAY)):
        argv = ["--params", str(ROOT / f"params/{params}.py"), "--cpanel", json.dumps(_COMMON | panel),
                "--session-path", str(base), "--session-name", name, *_QUIET,
                "--repeal", '{"/runner/max_iter": 3}']  # fmt: skip
        code, output, _ = in_child(lambda argv=argv: _program(argv), base / "train.log")
        assert code == 75, output
        made.append(base / name)
    return made


def _program(argv: list[str]) -> int:
    from digideep.main import main

    return main(argv)


# ---------------------------------------------------------------------- the commands


def run_command(name: str, session: Path) -> int:
    """One command on a session, in this process. Returns: its exit code."""
    if name == "resume":
        return _program(["--resume", str(session), *_QUIET])
    if name == "play":
        return _program(
            ["--play", "--load-checkpoint", str(session), "--episodes", "1", "--render", "none", "--device", "cpu"]
        )
    if name == "loader":
        return _load(session)
    if name == "sessions":
        from digideep.post.sessions import main

        return main([str(session.parent)])
    if name == "report":
        from digideep.post.report import main

        return main([str(session)])
    if name == "plotter":
        from digideep.post.plotter import main

        return main(["-r", str(session.parent), "-i", session.name, "--keyx", "frame", "--keyy", "/return/train"])
    from digideep.post.export import main

    return main([str(session), "--format", "torchscript"])


def _load(session: Path) -> int:
    """Read all that a Loader reads; each part by itself, since one may be whole where another is not."""
    from digideep.post.loader import Loader
    from digideep.utility.errors import UsageError

    code = 0
    parts: tuple[Callable[[Loader], object], ...] = (
        lambda loader: loader.params, lambda loader: loader.cpanel, lambda loader: dict(loader.varlog),
        lambda loader: dict(loader.prolog), lambda loader: loader.evaluations, lambda loader: loader.policy(),
        lambda loader: loader.environment().close(),
    )  # fmt: skip
    for part in parts:
        try:
            part(Loader(session))
        except UsageError as err:
            print(f"digideep: {err}", file=sys.stderr)
            code = err.exit_code
    return code


# ---------------------------------------------------------------------- what is looked at


def snapshot(directory: Path) -> dict[str, str]:
    """What lies below a directory: the kind of each entry, its content's hash or where it leads."""
    found = {}
    for folder, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[str(path.relative_to(directory))] = f"-> {os.readlink(path)}"
            elif stat.S_ISREG(mode) and os.lstat(path).st_size < 2**30:
                found[str(path.relative_to(directory))] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[str(path.relative_to(directory))] = str(stat.S_IFMT(mode))
    return found


def _contents(entries: dict[str, str]) -> dict[str, frozenset]:
    """The content of each checkpoint among the entries of a session, and each segment's, whatever their names."""
    found: dict[str, set] = {}
    for path, kind in entries.items():
        folder, _, name = path.rpartition("/")
        if re.fullmatch(r"checkpoints/checkpoint-[^/]*", folder):
            found.setdefault(folder, set()).add((name, kind))
        elif re.fullmatch(r"memory/segment-.*", path) and kind[:12] in path:  # one that is as it was written
            found[path] = {kind}
    return {path: frozenset(content) for path, content in found.items()}


def judge(
    mutation: str, command: str, session: Path, outside: Path, mark: Path, log: Path, user: int | None
) -> Iterator[Fault]:
    """Run a command on a damaged session; yields what is wrong."""
    before, around = snapshot(session), snapshot(outside)
    report = session / "report.log"
    length = report.stat().st_size if report.is_file() else 0
    code, output, seconds = in_child(lambda: run_command(command, session), log, user)
    after = snapshot(session)
    if report.is_file() and not report.is_symlink():
        output += report.read_bytes()[length:].decode(errors="replace")
    if code == -signal.SIGALRM or seconds > LIMIT_S:
        yield Fault(mutation, command, f"does not end in {LIMIT_S} s")
    elif code not in (0, 1, 2, 3, 75):
        yield Fault(mutation, command, f"exit code {code}")
    # What only shows while it trains fails there as it should, with the traceback in its report.
    if "Traceback" in output and not re.search(r"NonFiniteError|WorkerError|Keep one window per key", output):
        yield Fault(mutation, command, f"traceback, exit code {code}: {_last_line(output)}")
    if mark.exists():
        mark.unlink()
        yield Fault(mutation, command, "code of the session ran")
    if snapshot(outside) != around:
        yield Fault(mutation, command, "something outside changed")
    left = set(_contents(after).values())
    if gone := [
        path for path, content in _contents(before).items() if content not in left and _is_whole(path, mutation)
    ]:
        yield Fault(mutation, command, f"deleted: {gone}")
    if code in (2, 3) and command in ("resume", "play"):
        for entries in (before, after):
            entries.pop("running.lock", None)
        if before != after:
            yield Fault(
                mutation, command, f"refused with {code}, but changed {sorted(before.items() ^ after.items())[:3]}"
            )


def _is_whole(path: str, mutation: str) -> bool:
    """True if somebody needs it: these mutations leave segments behind that no checkpoint names."""
    orphans = ("left unfinished", "directory checkpoints/checkpoint-3")
    return not (path.startswith("memory") and any(word in mutation for word in orphans))


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if re.match(r"\w+(\.\w+)*(Error|Exception|Interrupt)\b", line)]
    places = re.findall(r'File ".*?/((?:digideep|tests)/[^"]*)", line (\d+)', output)
    return f"{lines[-1][:200] if lines else output[-200:]} at {':'.join(places[-1]) if places else '?'}"


def make_damaged(base: Path, index: int, seed: int, originals: list[Path]) -> tuple[str, int | None]:
    """Make `base/s`, damaged, and `base/outside`. Returns: what was done, and the user to be; None for this one."""
    draw = random.Random(f"{seed} {index}")
    original = draw.choice(originals)
    mutate: Mutation = (*MUTATIONS, forbid)[index % (len(MUTATIONS) + 1)]
    if mutate.__name__ == "reseal_segment":
        original = originals[-1]
    user = OTHER_USER if mutate is forbid and os.geteuid() == 0 else None
    shutil.rmtree(base, ignore_errors=True)
    session, outside = base / "s", base / "outside"
    outside.mkdir(parents=True)
    (outside / "victim").write_text("nobody may touch this\n" * 100)
    shutil.copytree(original, session)
    for name in ("x.py", "__init__.py"):
        (session / name).write_text(CODE)
    if user is not None:
        for folder, _, files in os.walk(base):
            for path in (folder, *(os.path.join(folder, file) for file in files)):
                os.chown(path, user, user)
    return f"{index} {original.name}: {mutate(draw, session, outside)}", user


def explore(
    number: int,
    seed: int,
    commands: Callable[[int], tuple[str, ...]],
    only: str = "",
    say: Callable[[str], None] = print,
) -> list[Fault]:
    """Damage sessions `number` times.

    Args:
        number: of mutations.
        seed: of what is drawn.
        commands: which to try, by the number of the mutation.
        only: part of a mutation's description; others are left out.
        say: is told each fault.
    """
    faults: list[Fault] = []
    here = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="damage-") as directory:
        base = Path(directory).resolve()
        mark = base / "mark/mark"
        mark.parent.mkdir()
        os.environ["DAMAGE_MARK"] = str(mark)
        for open_to_all, mode in ((base, 0o755), (mark.parent, 0o777)):
            open_to_all.chmod(mode)
        originals = train(base / "originals")
        try:
            for index in range(number):
                for command in commands(index):
                    os.chdir(base)
                    text, user = make_damaged(base / "work", index, seed, originals)
                    if only not in text:
                        break
                    if user is not None and command in ("report", "plotter", "export"):
                        continue  # they import as they go, and another user may not read a Python under /root
                    os.chdir(base / "work")  # where the session could be imported
                    session, outside = base / "work/s", base / "work/outside"
                    for fault in judge(text, command, session, outside, mark, base / "output.log", user):
                        faults.append(fault)
                        say(f"{fault.command}: {fault.what}\n    {fault.mutation}")
        finally:
            os.chdir(here)
    return faults
