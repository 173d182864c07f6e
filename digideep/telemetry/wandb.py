"""Weights & Biases: a run there, or in files of this machine, written by a process of W&B's own."""

import os
import secrets
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from digideep.telemetry.requirements import is_reachable
from digideep.telemetry.writers import EpochFigures, Writer, scalars

# It prints, measures and copies nothing, waits for no network, and writes at once: a run may be killed.
_SETTINGS: dict[str, Any] = {
    "silent": True, "console": "off", "symlink": False, "disable_git": True, "disable_code": True, "init_timeout": 20,
    "finish_timeout": 30, "x_disable_stats": True, "x_save_requirements": False,
    "x_transaction_log_flush_interval": 0.05,
}  # fmt: skip


class WandbWriter(Writer):
    """Continues the run `run_id`, or begins one; its files lie in `wandb/` of the directory. A step is a frame."""

    def __init__(self, directory: Path, name: str, run_id: str | None):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to their makers
        import wandb
        from wandb.sdk import wandb_setup

        self._wandb, self._setup, self.run_id = wandb, wandb_setup.singleton(), run_id or secrets.token_hex(8)
        found = self._setup.settings
        options = {**_SETTINGS, "project": found.project or "digideep"}
        if not (found._offline or found._noop or is_reachable(found.base_url)):
            options["mode"] = "offline"
        self._run = wandb.init(dir=directory, id=self.run_id, name=name, resume="allow", reinit="create_new",
                               settings=wandb.Settings(**options))  # fmt: skip
        self.address = self._run.url or "" if not self._run.offline else f"wandb sync {Path(self._run.dir).parent}"

    def parameters(self, cpanel: dict[str, Any], tree: dict[str, Any]) -> None:
        self._run.config.update({"cpanel": cpanel, "tree": tree}, allow_val_change=True)

    def epoch(self, figures: EpochFigures) -> None:
        rows: dict[int, dict[str, float]] = defaultdict(dict)
        for name, value, frame, clock in scalars(figures):
            rows[frame] |= {name: value, "_timestamp": clock}
        for frame, row in sorted(rows.items()):
            self._run.log(row, step=frame, commit=True)

    def histograms(self, arrays: dict[str, np.ndarray], frame: int) -> None:  # a row of their own, at the next step
        self._run.log({name: self._wandb.Histogram(np_histogram=np.histogram(a, 64)) for name, a in arrays.items()})

    def video(self, path: Path, frame: int) -> None:  # the epoch follows, and completes the row
        self._run.log({"episode": self._wandb.Video(str(path), format="mp4")}, step=frame, commit=False)

    def close(self) -> None:
        try:
            self._run.finish()
        finally:
            if self._setup.most_recent_active_run in (None, self._run):  # nobody else here uses W&B's process
                self._wandb.teardown()
