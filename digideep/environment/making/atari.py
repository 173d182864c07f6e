"""Atari games: how a raw game becomes what an agent sees. The games come from ale-py, most wrappers from gymnasium.

From the inside out: the game, one frame a step; fire at the start; no-ops, repeated actions, the maximum of two frames,
shrinking (gymnasium's AtariPreprocessing); the time limit; a lost life as an end; the stack of frames. Rewards stay raw
here, so that returns are scores of whole games: `VecSignReward` clips them for the learner.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.parameters.checks import require_between, require_int
from digideep.parameters.component import Component
from digideep.utility.errors import UsageError

_MAX_FRAMES = 108_000  # half an hour of play. Source: Hessel et al. 2018, arXiv:1710.02298, evaluation methodology

# The upper ones keep a slip of the keyboard from taking all memory, or for ever.
_LIMITS = {"frame_skip": (1, 1_000), "noop_max": (0, 10_000), "screen_size": (1, 1_024), "frame_stack": (1, 256)}


@dataclass(frozen=True, kw_only=True)
class Atari(Component):
    """Preprocessing of an Atari game, the same for every backend.

    Sources: Mnih et al. 2015 (Nature 518, Methods) for frames, no-ops and lost lives; Machado et al. 2018,
    arXiv:1709.06009, for sticky actions, the full action set, and against ends at lost lives.

    Attributes:
        repeat_action_probability: chance that the game repeats the action before instead ("sticky actions"), at each
            frame, in [0, 1]. Machado: 0.25; DeepMind's papers: 0.
        frame_skip: frames that each action is repeated for, at least 1; the last two are merged by their maximum.
        noop_max: a game begins with a random number of no-ops, at most this; 0 for none.
        terminal_on_life_loss: a lost life is a termination for the learner. The game goes on after it, and what is
            logged is the whole game.
        fire_on_reset: press fire where a game or a life begins, if the game knows it.
        full_action_space: all 18 actions instead of those that have an effect.
        screen_size: height and width of the image.
        grayscale: False keeps the colours, as a last axis of size 3.
        frame_stack: newest frames that an observation consists of, oldest first. Before an episode's first frame,
            that frame again.
    """

    repeat_action_probability: float = 0.25
    frame_skip: int = 4
    noop_max: int = 30
    terminal_on_life_loss: bool = False
    fire_on_reset: bool = False
    full_action_space: bool = False
    screen_size: int = 84
    grayscale: bool = True
    frame_stack: int = 4

    def __post_init__(self) -> None:
        require_between("repeat_action_probability", self.repeat_action_probability, 0, 1)
        for name, (least, most) in _LIMITS.items():
            require_int(name, getattr(self, name), least, most)

    def game_arguments(self, name: str) -> dict[str, Any]:
        """Return keyword arguments of the raw game; the time limit is set around it, in steps.

        Raises:
            UsageError: if it is no Atari game.
        """
        known = gym.registry.get(name)
        if known is not None and "ale_py" not in str(known.entry_point):
            raise UsageError(
                f"'{name}' is no Atari game. Expected one such as 'ALE/Pong-v5', or no 'atari' in the tree."
            )
        return {
            "frameskip": 1,
            "repeat_action_probability": self.repeat_action_probability,
            "full_action_space": self.full_action_space,
            "max_num_frames_per_episode": 0,
        }

    def max_episode_steps(self, limit: int | None) -> int:
        """Return the time limit in steps. Args: limit: None takes half an hour of play."""
        return limit or _MAX_FRAMES // self.frame_skip

    def preprocess(self, game: gym.Env, limit: int | None) -> gym.Env:
        """Return the game as single frames, one for each action. Args: limit: of steps; see `max_episode_steps`."""
        if self.fire_on_reset:
            game = FireOnReset(game)
        frames = gym.wrappers.AtariPreprocessing(
            game,
            noop_max=self.noop_max,
            frame_skip=self.frame_skip,
            screen_size=self.screen_size,
            grayscale_obs=self.grayscale,
        )
        return gym.wrappers.TimeLimit(frames, self.max_episode_steps(limit))

    def complete(self, frames: gym.Env) -> gym.Env:
        """Add to `preprocess`'s frames what an agent sees: ends at lost lives, stacks."""
        if self.terminal_on_life_loss:
            frames = LifeLoss(frames, fire_action(frames) if self.fire_on_reset else 0)
        return gym.wrappers.FrameStackObservation(frames, self.frame_stack)


def register_games() -> None:
    """Let gymnasium know the Atari games. Raises: UsageError: if a package is missing."""
    try:
        import ale_py
        import cv2  # noqa: F401  # gymnasium's preprocessing asks for it late, and names another package
    except ImportError as err:
        raise UsageError(f"Atari games need further packages ({err}): pip install 'digideep[atari]'.") from err
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # else it greets on stderr
    if "ALE/Pong-v5" not in gym.registry:
        gym.register_envs(ale_py)


def fire_action(environment: gym.Env) -> int:
    """Return the number of the action that fires; 0, which does nothing, if the game has none."""
    meanings = environment.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
    return meanings.index("FIRE") if "FIRE" in meanings else 0


class FireOnReset(gym.Wrapper):
    """Presses fire in the first frame of a game."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a game."""
        observation, info = self.env.reset(seed=seed, options=options)
        action = fire_action(self.env)
        if action:
            observation, _, _, _, info = self.env.step(action)
        return observation, info


# In an info: of `LifeLoss` alone. Games of others say "life_lost", too, and mean something else.
LIFE_LOST = "digideep.life_lost"


class LifeLoss(gym.Wrapper):
    """Ends an episode with each lost life, though the game goes on.

    Such an end is a termination with `LIFE_LOST` in its info. The `reset` after it plays on by one step, unless it is
    given a seed; that step's reward is added to the next one's, so that rewards sum up to the game's score.

    Args:
        environment: an Atari game.
        first_action: of that step.
    """

    def __init__(self, environment: gym.Env, first_action: int):
        super().__init__(environment)
        self._first_action = first_action
        self._lives, self._goes_on = 0, False
        self._carried = 0.0
        self._over: tuple[Any, bool, bool] | None = None  # how the game ended in the step that `reset` took

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Play on after a lost life; begin a game otherwise, or if there is a seed."""
        goes_on, self._goes_on = self._goes_on and seed is None, False
        self._carried, self._over = 0.0, None
        if goes_on:
            observation, reward, terminated, truncated, info = self.env.step(self._first_action)
            self._carried = float(reward)
            if terminated or truncated:
                self._over = observation, terminated, truncated
        else:
            observation, info = self.env.reset(seed=seed, options=options)
        self._lives = info["lives"]
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step; terminated at a lost life."""
        carried, self._carried = self._carried, 0.0
        if self._over is not None:
            (observation, terminated, truncated), self._over = self._over, None
            return observation, carried, terminated, truncated, {"lives": 0}
        observation, reward, terminated, truncated, info = self.env.step(action)
        is_lost = bool(is_life_lost(info["lives"], self._lives)) and not (terminated or truncated)
        self._lives = info["lives"]
        if is_lost:
            self._goes_on, info = True, {**info, LIFE_LOST: True}
        return observation, float(reward) + carried, terminated or is_lost, truncated, info


def is_life_lost(lives: Any, before: Any) -> Any:
    """True where a life was lost and some are left: some games show 0 for a while before they end.

    Args:
        lives: int, or int (N,), now.
        before: likewise, one step earlier.
    """
    return np.logical_and(lives < before, lives > 0)
