"""Films of episodes, from whatever an environment's `render` gives."""

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np

from digideep.utility.user_code import in_words, words_unless_ours

_log = logging.getLogger("digideep")


class Pictures:
    """Makes pictures of one size, uint8 (H, W, 3), of what `render` gives.

    It may be grey, with or without a last dimension, RGB or RGBA, also with the channels first; bool, bytes, or floats
    up to 1 or up to 255.

    Attributes:
        shape: (H, W) of the first picture, made even, which codecs need; those that follow are cut or padded.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, int] | None = None
        self.has_changed = False
        self._scale = 255.0  # of floats, as long as none is greater than 1

    def take(self, picture: Any) -> np.ndarray | None:
        """Return a picture of its own: `picture` may be used again. None if there is none.

        Raises:
            ValueError: if it is no picture.
        """
        if isinstance(picture, (list, tuple)) and (not picture or np.ndim(picture[-1]) >= 2):
            picture = picture[-1] if picture else None
        if picture is None:
            return None
        array = np.asarray(picture)
        if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
            raise ValueError(f"render() gave {type(picture).__name__} of shape {array.shape}, dtype {array.dtype}")
        if array.ndim == 2:
            array = array[:, :, None]
        elif array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
            array = array.transpose(1, 2, 0)
        if array.shape[2] not in (1, 3, 4):
            raise ValueError(f"render() gave an array of shape {array.shape}, whose last dimension is no colour")
        array = self._as_bytes(array)[:, :, :3]
        return self._fitted(np.repeat(array, 3, 2) if array.shape[2] == 1 else array)

    def _as_bytes(self, array: np.ndarray) -> np.ndarray:
        if array.dtype == np.uint8:
            return array
        if array.dtype == np.bool_:
            return array * np.uint8(255)
        if array.dtype.kind == "f":
            array = np.nan_to_num(array, posinf=255.0, neginf=0.0)
            if array.max() > 1.0 + 1e-6:
                self._scale = 1.0
            array = np.rint(array * self._scale)
        return np.clip(array, 0, 255).astype(np.uint8)

    def _fitted(self, array: np.ndarray) -> np.ndarray:
        height, width = array.shape[:2]
        if self.shape is None:
            self._first = height, width
            self.shape = height + height % 2, width + width % 2
        self.has_changed |= (height, width) != self._first
        picture = np.zeros((*self.shape, 3), np.uint8)
        height, width = min(height, self.shape[0]), min(width, self.shape[1])
        picture[:height, :width] = array[:height, :width]
        return picture


class EpisodeFilms(gym.Wrapper):
    """Films every episode. Whatever goes wrong costs the film, or a part of it, and a line in the log; nothing else.

    Args:
        env: made with `render_mode="rgb_array"`.
        directory: for `play-episode-<number>.mp4`.
    """

    def __init__(self, env: gym.Env, directory: Path):
        super().__init__(env)
        self._directory, self._number = directory, -1
        self._fps = float(self.metadata.get("render_fps") or 30)
        self._writer: Generator[None, Any, None] | None = None
        self._newest: np.ndarray | None = None
        self._is_over, self._logged = True, set[str]()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next film. See `gymnasium.Env`."""
        result = self.env.reset(seed=seed, options=options)
        self._finish()
        self._number, self._is_over, self._pictures, self._missing = self._number + 1, False, Pictures(), 0
        self._film()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and a picture after it. See `gymnasium.Env`."""
        result = self.env.step(action)
        self._film()
        return result

    def _film(self) -> None:
        if self._is_over:
            return
        try:
            picture = self._pictures.take(self.env.render())
            if picture is None:
                self._missing += 1
                picture = self._newest
            if picture is not None:
                self._write(picture)
        except BaseException as err:  # drivers, codecs and environments fail in many ways: none ends a run
            rest = "its film ends there" if self._writer is not None else "it is not filmed"
            self._warn(f"{words_unless_ours(err)}: {rest}")
            self._end()

    def _write(self, picture: np.ndarray) -> None:
        if self._writer is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = str(self._directory / f"play-episode-{self._number}.mp4")
            size = picture.shape[1], picture.shape[0]
            self._writer = imageio_ffmpeg.write_frames(path, size, fps=self._fps, codec="libx264", macro_block_size=2)
            self._writer.send(None)
        self._writer.send(picture)
        self._newest = picture

    def _warn(self, what: str) -> None:
        """Log what became of a film, each message once."""
        if what not in self._logged:
            self._logged.add(what)
            _log.warning("Video of episode %d: %s.", self._number, what)

    def _finish(self) -> None:
        """End the film of the episode that is over, and log what is wrong with it."""
        if self._is_over:
            return
        if self._missing:
            self._warn(
                "render() gave no picture at times: the one before was repeated"
                if self._writer is not None
                else "render() gave no picture: it is not filmed"
            )
        if self._pictures.has_changed:
            self._warn("pictures changed their size: they were cut or padded to that of the first")
        self._end()

    def _end(self) -> None:
        self._is_over, self._newest = True, None
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception as err:
                self._warn(f"it cannot be written: {in_words(err)}")

    def close(self) -> None:
        """Close the environment, and the file."""
        try:
            self.env.close()
        finally:
            self._finish()
