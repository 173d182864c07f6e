"""Playing a session with the sources that it keeps: `--play --frozen`, after the project has moved on."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from digideep.utility.errors import UsageError


def play_frozen(args: argparse.Namespace, argv: list[str]) -> int:
    """Run the same command in a process that finds `modules/` of the session before everything else.

    The session's own code is executed: only this flag ever does that.

    Args:
        args: with `load_checkpoint`.
        argv: the command line that they were read from.

    Returns:
        The exit code of that process.

    Raises:
        UsageError: if the session keeps no sources.
    """
    path = Path(args.load_checkpoint).resolve()
    modules = next((place / "modules" for place in (path, *path.parents[:2]) if (place / "modules").is_dir()), None)
    if modules is None or not (modules / "digideep").is_dir():
        raise UsageError(f"{args.load_checkpoint} keeps no sources: there is no modules/digideep. Leave --frozen out.")
    arguments = [str(path) if word == args.load_checkpoint else word for word in argv if word != "--frozen"]
    arguments = [f"--load-checkpoint={path}" if word.startswith("--load-checkpoint=") else word for word in arguments]
    # -m looks in the working directory first. What the session does not keep is still found where we are.
    search = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "digideep.main", *arguments]
    return subprocess.run(command, cwd=modules, env={**os.environ, "PYTHONPATH": search}, check=False).returncode
