"""The example of docs/several.md, killed at random moments and resumed: `python -m tests.kills.several`.

Beside one that nobody disturbs, as `tests.kills.harness` says of runs in one process. At last the control: a run that
forgets the state of one explorer where it is resumed must be found out.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.stop_signals import FINISHED, STOPPED
from digideep.pipeline.verify import compare_checkpoints
from tests.kills.harness import Victim, torment
from tests.kills.methods import Method
from tests.support.helpers import ROOT

_PANEL = {
    "model_name": "MarkedReach-v0", "epoch_size": 20, "n_steps": 3, "num_workers": 3, "warm_start": 30, "batch_size": 8,
    "hidden_sizes": [8, 8], "memory_size_in_chunks": 45, "gradient_steps_per_frame": 0.25, "test_win_size": 2,
    "demo_chunks": 130, "demo_steps": 7,
}  # fmt: skip
_PARAMS = str(ROOT / "params/sac_demo.py")
METHODS = {
    "in one process": Method(_PARAMS, _PANEL),
    "in three": Method(_PARAMS, _PANEL | {"num_processes": 2}),
}


class Forgetful(Victim):
    """One that stops after three epochs, and begins anew with the explorer "demo" where it is resumed."""

    def _launch(self, *arguments: str) -> None:
        changes = {"/runner/class": "tests.support.forgetful.ForgetfulRunner", "/runner/max_iter": None}
        repeal = changes if "--resume" in arguments else {"/runner/max_iter": 3}
        super()._launch(*arguments, "--repeal", json.dumps(repeal))


def is_found_out(method: Method, base: Path, draw: random.Random) -> bool:
    """True if a run that forgets the state of one explorer ends otherwise than the one left alone in `base`."""
    victim = Forgetful(method, base / "forgetful", draw)
    for expected in (STOPPED, FINISHED):
        victim.start()
        assert victim.end(None) == expected, victim.output.read_text()
    paths = [list_checkpoints(base / name / "checkpoints")[-1] for name in ("straight", "forgetful")]
    return any(path.startswith("/memories/demo/buffer") for path in compare_checkpoints(*paths)[0])


def main() -> int:
    """The command. Returns: 1 if a run that was killed ended otherwise than the one left alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.several", description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="kills, spread over both settings (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    args = parser.parse_args()
    is_right = True
    for index, (name, method) in enumerate(METHODS.items()):
        wanted = args.n // len(METHODS) + (index < args.n % len(METHODS))
        with tempfile.TemporaryDirectory(prefix="digideep-kills-") as directory:
            base, draw = Path(directory).resolve(), random.Random(f"{args.seed} {name}")
            kills, _, wrong = torment(method, base, wanted, draw)
            control = not wrong and is_found_out(method, base, draw)
        is_right &= not wrong and control
        print(f"{name}: {kills.total()} kills {dict(kills)}, bit-identical: {'NO' if wrong else 'yes'}", flush=True)
        print(f"{name}: the control is found out: {'yes' if control else 'NO'}", flush=True)
        for line in wrong:
            print(f"    {line}", flush=True)
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
