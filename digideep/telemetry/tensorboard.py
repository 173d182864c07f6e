"""TensorBoard: event files, written by this process, and a server for them, in another one."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from digideep.telemetry.server_process import ServerProcess
from digideep.telemetry.writers import EpochFigures, Writer, scalars

_log = logging.getLogger("digideep")
_VIDEO_PIXELS, _VIDEO_FRAMES = 200, 100  # of the longer side, and per episode: a GIF is large

# What its page "Custom Scalars" draws together.
_LAYOUT = {
    "learning curves": {
        "train, recent and test return": ["Multiline", ["return/train$", "return/recent$", "return/test$"]],
        "train return, least to greatest": ["Margin", ["return/train", "return/train/min", "return/train/max"]],
        "test return, least to greatest": ["Margin", ["return/test", "return/test/min", "return/test/max"]],
    }
}


class TensorBoardWriter(Writer):
    """Writes event files.

    Args:
        directory: for the files; its server is started beside.
        told: frames up to which the files hold everything; None if there are none.
        bind: address that the server listens on; None for none.
        name: of the run on its page.
    """

    def __init__(self, directory: Path, told: int | None, bind: str | None, name: str):
        from torch.utils.tensorboard import SummaryWriter

        # The files of a resumed run were cut at its checkpoint; a server that has read more must forget it, too.
        self._writer = SummaryWriter(str(directory), purge_step=None if told is None else told + 1)
        if told is None:
            self._writer.add_custom_scalars(_LAYOUT)
        self._server = None
        if bind is not None:
            self._server = ServerProcess("tensorboard", str(directory), bind, name)
            self._server.wait()

    def parameters(self, cpanel: dict[str, Any], tree: dict[str, Any]) -> None:
        """Show it as text, and for the page "HParams"."""
        from torch.utils.tensorboard.summary import hparams

        rows = "".join(f"| {key} | `{value}` |\n" for key, value in cpanel.items())
        self._writer.add_text("parameters", f"| name | value |\n| --- | --- |\n{rows}", 0)
        values = {k: v if isinstance(v, (bool, int, float, str)) else repr(v) for k, v in cpanel.items()}
        for summary in hparams(values, {"return/test": None, "return/train": None}):
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(summary)

    def epoch(self, figures: EpochFigures) -> None:
        """Show every number under its name, see `scalars`."""
        for name, value, frame, clock in scalars(figures):
            self._writer.add_scalar(name, value, frame, clock)

    def histograms(self, arrays: dict[str, np.ndarray], frame: int) -> None:
        for name, array in arrays.items():
            self._writer.add_histogram(name, array, frame)

    def video(self, path: Path, frame: int) -> None:
        """Show it as an animated GIF under "Images", the only kind of video that TensorBoard shows."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        gif, (height, width) = _as_gif(path)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        assert self._writer.file_writer is not None
        self._writer.file_writer.add_summary(Summary(value=[Summary.Value(tag="episode", image=image)]), frame)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
        if self._server is not None:
            self._server.close()


def _as_gif(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return a small GIF of an mp4 file, and its height and width."""
    import imageio.v3 as iio

    video = iio.imread(path)  # uint8 (frames, height, width, 3)
    fps = float(iio.immeta(path).get("fps", 30))
    skip = max(-(-len(video) // _VIDEO_FRAMES), 1)
    step = max(-(-max(video.shape[1:3]) // _VIDEO_PIXELS), 1)
    small = video[::skip, ::step, ::step]
    buffer = io.BytesIO()
    iio.imwrite(buffer, small, extension=".gif", duration=1000 * skip / fps, loop=0)
    return buffer.getvalue(), small.shape[1:3]
