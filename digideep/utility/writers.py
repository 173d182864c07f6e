"""Dashboards: where the figures of an epoch go besides the log files."""

import logging
from pathlib import Path
from typing import Any, Protocol

from digideep.utility.errors import UsageError

_log = logging.getLogger("digideep")


class Writer(Protocol):
    """Somewhere to send scalars."""

    def scalars(self, values: dict[str, float], frame: int) -> None:
        """Show values that were measured at a frame."""

    def flush(self) -> None:
        """Let everything sent so far reach its place."""

    def close(self) -> None:
        """Send no more."""


class TensorBoardWriter:
    """Event files, and a TensorBoard server that only this machine can reach."""

    def __init__(self, directory: Path, first_frame: int):
        from torch.utils.tensorboard import SummaryWriter

        # Events of a run that was killed after its last checkpoint are not shown beside those of its repetition.
        self._writer = SummaryWriter(str(directory), purge_step=first_frame + 1 if first_frame else None)
        self._server = _serve(directory)

    def scalars(self, values: dict[str, float], frame: int) -> None:
        """See `Writer`."""
        for key, value in values.items():
            self._writer.add_scalar(key.lstrip("/"), value, frame)

    def flush(self) -> None:
        """See `Writer`."""
        self._writer.flush()

    def close(self) -> None:
        """See `Writer`."""
        self._writer.close()


def _serve(directory: Path) -> str | None:
    """Start a server on a free port of 127.0.0.1. Returns: its address, None if it does not start."""
    from tensorboard import program

    server = program.TensorBoard()
    server.configure(argv=["tensorboard", "--logdir", str(directory), "--host", "127.0.0.1", "--port", "0"])
    try:
        address = server.launch()
    except Exception as err:  # a dashboard never stops a training
        _log.warning("TensorBoard does not start (%s); its files are written all the same.", err)
        return None
    _log.info("TensorBoard: %s", address)
    return address


def require_tensorboard() -> None:
    """Refuse `--tensorboard` where it is not installed.

    Raises:
        UsageError: saying what to install.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as err:
        raise UsageError("--tensorboard needs a package that is missing: pip install 'digideep[tensorboard]'.") from err


class VisdomWriter:
    """A line per metric on a visdom server of this machine. A server that is away costs one warning, no more."""

    def __init__(self, port: int, environment: str):
        import visdom

        self._is_alive = True
        self._visdom: Any = None
        try:
            self._visdom = visdom.Visdom(
                server="http://127.0.0.1", port=port, env=environment, raise_exceptions=True, use_incoming_socket=False
            )
            _log.info("visdom: http://127.0.0.1:%d/env/%s", port, environment)
        except Exception as err:  # whatever the client raises, the training goes on
            self._give_up(err)

    def scalars(self, values: dict[str, float], frame: int) -> None:
        """See `Writer`."""
        try:
            for key, value in values.items() if self._is_alive else ():
                options = {"title": key, "xlabel": "frames"}
                self._visdom.line([value], [frame], win=key, update="append", opts=options)
        except Exception as err:
            self._give_up(err)

    def _give_up(self, err: Exception) -> None:
        self._is_alive = False
        _log.warning("visdom does not answer (%s): the training goes on without it.", err)

    def flush(self) -> None:
        """See `Writer`."""

    def close(self) -> None:
        """See `Writer`."""


def require_visdom() -> None:
    """Refuse `--visdom` where it is not installed.

    Raises:
        UsageError: saying what to install.
    """
    try:
        import visdom  # noqa: F401
    except ImportError as err:
        raise UsageError(
            "--visdom needs a package that is missing: run 'make visdom' (it needs setuptools < 82)."
        ) from err
