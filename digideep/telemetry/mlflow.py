"""MLflow: a run in the store that MLFLOW_TRACKING_URI names, or else in the session."""

import logging
import os
import re
import warnings
from pathlib import Path
from typing import Any

from digideep.telemetry.requirements import require_answer, without_password
from digideep.telemetry.writers import EpochFigures, Writer, leaves, scalars

# A server that is away costs seconds, not minutes; no usage is reported; a directory may be the store.
_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
             "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}  # fmt: skip


class MlflowWriter(Writer):
    """Continues a run, or begins one. A step is a frame. The directory is its store unless a tracking URI is set."""

    def __init__(self, directory: Path, name: str, run_id: str | None):
        os.environ.update(_DEFAULTS | os.environ)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or directory.resolve().as_uri()
        self.address = without_password(uri)
        require_answer(uri)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of its database
            from mlflow import MlflowClient, entities

            for logger in map(logging.getLogger, ("mlflow", "alembic", "urllib3")):
                logger.setLevel(logging.ERROR)
            self._entities, self._client = entities, MlflowClient(tracking_uri=uri)
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "digideep"
            found = self._client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else self._client.create_experiment(experiment)
            self.run_id: str = run_id or self._client.create_run(number, run_name=name).info.run_id
        self._client.update_run(self.run_id, status="RUNNING")

    def parameters(self, cpanel: dict[str, Any], tree: dict[str, Any]) -> None:
        params = [self._entities.Param(_name(p), str(v)[:6000]) for p, v in leaves({**cpanel, "tree": tree})]
        for i in range(0, len(params), 100):  # what a server takes at once
            self._client.log_batch(self.run_id, params=params[i : i + 100])

    def epoch(self, figures: EpochFigures) -> None:
        metrics = [self._entities.Metric(_name(n), v, int(1000 * t), frame) for n, v, frame, t in scalars(figures)]
        for i in range(0, len(metrics), 1000):
            self._client.log_batch(self.run_id, metrics=metrics[i : i + 1000])

    def video(self, path: Path, frame: int) -> None:
        if not self.address.startswith("file:"):  # the session has it already, and its store may have been moved
            self._client.log_artifact(self.run_id, str(path), "videos")

    def close(self) -> None:
        self._client.set_terminated(self.run_id)


def _name(path: str) -> str:
    """Return a name that MLflow takes, with one slash: no file of its store can be a directory, too."""
    group, slash, rest = re.sub(r"[^a-zA-Z0-9_\-. :/]", "_", path).strip("/").partition("/")
    return group + slash + rest.replace("/", ".")
