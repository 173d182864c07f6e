"""An environment that draws without any graphics library. `tests.support.rendering:Picture-v0` imports and makes it."""

import gymnasium as gym
import numpy as np

from tests.support.environments import Noise


class Picture(Noise):
    """Noise with an image: a white square whose place is the walk's."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode

    def render(self):
        image = np.zeros((64, 64, 3), np.uint8)
        x, y = np.clip(self.place, 0, 56).astype(int)
        image[y : y + 8, x : x + 8] = 255
        return image


if "Picture-v0" not in gym.registry:
    gym.register("Picture-v0", Picture, max_episode_steps=12)
