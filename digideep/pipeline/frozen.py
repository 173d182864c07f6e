"""Playing a session with the sources that it keeps: `--play --frozen`, after the project has moved on."""

import os
import subprocess
import sys
from pathlib import Path

from digideep.pipeline.arguments import Arguments
from digideep.pipeline.stop_signals import end_child
from digideep.utility.errors import UsageError
from digideep.utility.importing import session_of

# The kept sources come first; the working directory, which -c puts there, does not.
_START = """import sys
sys.path[:] = [sys.argv[1], *filter(None, sys.path)]
sys.argv[:2] = ["main.py"]
from digideep.main import main
sys.exit(main())
"""


def play_frozen(args: Arguments, argv: list[str]) -> int:
    """Run the same command in a process that finds `modules/` of the session first. Returns: its exit code.

    The session's own code is executed: only this flag ever does that, and it says so. A session without is refused.
    """
    assert args.load_checkpoint is not None
    path = Path(args.load_checkpoint).resolve()
    modules = next((place / "modules" for place in (path, *path.parents[:2]) if (place / "modules").is_dir()), None)
    if modules is None or not (modules / "digideep").is_dir():
        raise UsageError(f"{args.load_checkpoint} keeps no sources: there is no modules/digideep. Leave --frozen out.")
    print(f"digideep: running the code that the session keeps in {modules}", file=sys.stderr)
    arguments = [word for word in argv if word != "--frozen"]
    # What the session does not keep is still found where we are.
    here = [] if session_of(Path.cwd()) else [os.getcwd()]
    search = os.pathsep.join([*here, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", _START, str(modules), *arguments]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": search})
    try:
        return process.wait()
    finally:
        end_child(process)
