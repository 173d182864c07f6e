"""dm_control through shimmy: digideep's own ids, plain keyword arguments, and the ends of episodes.

shimmy tells the two ends apart by dm_env's discount: 1 with the last time step is a time limit (truncation), 0 a
terminal state. dm_control is imported only by functions here.
"""

import logging
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.parameters.checks import require_int
from digideep.parameters.component import Component
from digideep.utility.errors import UsageError

_MOST_PIXELS = 1_024  # of a side: a slip of the keyboard would take all memory
_log = logging.getLogger("digideep")


def prepare() -> None:
    """Register each benchmark task of the suite as `DMBench<Domain><Task>-v0`, in digideep's spelling.

    Such an environment gives one vector, with `flat_observation=False` a dictionary by key.
    """
    from dm_control import suite

    for domain, task in suite.BENCHMARKING:
        name = f"DMBench{domain.capitalize()}{task.capitalize()}-v0"
        if name not in gym.registry:
            maker: Any = _make_benchmark  # a function; gymnasium's type knows classes only
            gym.register(name, maker, kwargs={"task_id": f"dm_control/{domain}-{task}-v0"})


def _make_benchmark(task_id: str, flat_observation: bool = True, **kwargs: Any) -> gym.Env:
    environment = gym.make(task_id, disable_env_checker=True, **kwargs)
    return gym.wrappers.FlattenObservation(environment) if flat_observation else environment


# Where the words that people use have their place among dm_control's arguments.
_PLACES = {
    "time_limit": "task_kwargs",  # seconds
    "control_timestep": "environment_kwargs",  # seconds
    "width": "render_kwargs",
    "height": "render_kwargs",
    "camera_id": "render_kwargs",
}


def translate(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Put `time_limit`, `control_timestep`, `width`, `height` and `camera_id` where dm_control looks for them.

    Some tasks draw constants of their model when they are made (lqr): they draw them from a fixed seed, so that
    another process makes the same model. `task_kwargs={"random": 1}` takes another one.
    """
    translated = {key: value for key, value in kwargs.items() if key not in _PLACES}
    for key, place in _PLACES.items():
        if key in kwargs:
            translated[place] = {**translated.get(place, {}), key: kwargs[key]}
    if "-" in name.rpartition("-v")[0] or name.startswith("DMBench"):  # a task of the suite: <domain>-<task>
        translated["task_kwargs"] = {"random": 0, **translated.get("task_kwargs", {})}
    return translated


class DmControlEpisode(gym.Wrapper):
    """What shimmy leaves open around an environment of dm_control.

    A simulation that diverges ends its episode as dm_control's composer does it: terminal, reward 0, the last sound
    observation.
    Films run at the speed of the simulation, and are taken by the model's first camera, which follows what walks away.

    Attributes:
        dt: seconds from step to step.
    """

    def __init__(self, environment: gym.Env):
        super().__init__(environment)
        inner: Any = environment.unwrapped
        self.dt = float(inner.dt)
        self.metadata = {**environment.metadata, "render_fps": round(1 / self.dt)}
        if inner.render_mode != "multi_camera" and inner._env.physics.model.ncam:
            inner.render_kwargs = {"camera_id": 0, **inner.render_kwargs}
        limit = getattr(inner._env, "_step_limit", np.inf)
        if inner.spec is not None and inner.spec.max_episode_steps is None and np.isfinite(limit):
            inner.spec.max_episode_steps = int(np.ceil(limit))  # its own copy

    def get_env_state(self) -> np.ndarray:
        """Return the state of the physics, float64 (n,): positions, velocities, activations. A task may keep more."""
        inner: Any = self.unwrapped
        state: np.ndarray = inner._env.physics.get_state()
        return state

    def set_env_state(self, state: np.ndarray) -> None:
        """Let the physics go on from a state of `get_env_state`. The time of the episode is not part of it."""
        physics = self.unwrapped._env.physics  # type: ignore[attr-defined]
        with physics.reset_context():
            physics.set_state(state)

    def view(self, generator: np.random.Generator) -> None:
        """Open dm_control's viewer with random actions, until its window is closed. Needs a display and GLFW."""
        from dm_control import viewer

        inner: Any = self.unwrapped
        spec = inner._env.action_spec()
        low, high = (np.clip(bound, -1, 1) for bound in (spec.minimum, spec.maximum))  # of no bound, [-1, 1]
        viewer.launch(inner._env, policy=lambda step: generator.uniform(low, high, spec.shape))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._last = observation
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        from dm_control.rl.control import PhysicsError

        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except PhysicsError as err:
            _log.debug("An episode of dm_control ends because its simulation diverged: %s", err)
            return self._last, 0.0, True, False, {}
        self._last = observation
        return observation, float(reward), terminated, truncated, info


class PixelObservation(gym.ObservationWrapper, Component):
    """Shows a camera's picture in the place of what dm_control says of the body: bytes, (screen_size, screen_size, 3).

    The picture does not depend on the `render_mode` that the environment was made with. A simulation that diverges ends
    with the picture before, as it does with its observation.

    Args:
        env: of dm_control, without a wrapper that changes observations.
        screen_size: height and width, in pixels.
        camera: its number in the model; -1 is a free one, which looks at the whole scene.
    """

    def __init__(self, env: gym.Env, *, screen_size: int = 84, camera: int = 0):
        super().__init__(env)
        require_int("screen_size", screen_size, 1, _MOST_PIXELS)
        inner: Any = env.unwrapped
        if not hasattr(getattr(inner, "_env", None), "physics"):
            raise UsageError(f"from_pixels is for dm_control's tasks, and {inner} is none. Set it to false.")
        require_int("camera", camera, -1, inner._env.physics.model.ncam - 1)
        self.size, self.camera = screen_size, camera
        self.observation_space = gym.spaces.Box(0, 255, (screen_size, screen_size, 3), np.uint8)
        try:
            self._picture, self._seen = self._draw(), None
        except Exception as err:  # libraries of graphics fail in ways of their own
            raise UsageError(
                f"from_pixels cannot draw here: {' '.join(str(err).split())}. Install EGL or OSMesa, and let MUJOCO_GL "
                "name it."
            ) from err

    def _draw(self) -> np.ndarray:
        inner: Any = self.unwrapped
        picture = inner._env.physics.render(self.size, self.size, camera_id=self.camera)
        return np.ascontiguousarray(picture)  # OpenGL begins at the bottom

    def observation(self, observation: Any) -> np.ndarray:
        """Draw what is to be seen."""
        if observation is not self._seen:
            self._picture, self._seen = self._draw(), observation
        return self._picture
