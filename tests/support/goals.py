"""Small environments with goals. Importing this module registers them."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict


class Reach(gym.Env):
    """A point on a line that has to come within 0.5 of a goal: 0 there, -1 elsewhere. A step is at most 1 long.

    Args:
        farthest: the greatest distance of a goal, drawn uniformly.
        is_terminal: the goal ends the episode.
        takes_one: `compute_reward` knows one goal at a time.
        has_parts: its action is a Dict with one part.
        counts: every reward is lower by the step's number, which is told by the info only.
        fault: "mute", it has no `compute_reward`; "lie", that says something else; "raise"; "shape", of goals; "order",
            of many answers.
    """

    def __init__(
        self, farthest: float = 3.0, is_terminal: bool = False, takes_one: bool = False, counts: bool = False,
        has_parts: bool = False, fault: str = "",
    ):  # fmt: skip
        line, two = Box(-np.inf, np.inf, (1,), np.float64), Box(-np.inf, np.inf, (2,), np.float64)
        goals = {"achieved_goal": two if fault == "shape" else line, "desired_goal": line}
        self.observation_space = Dict({"observation": line, **goals})
        arm = Box(-1, 1, (1,), np.float32)
        self.action_space = Dict({"arm": arm}) if has_parts else arm
        self.farthest, self.takes_one, self.counts, self.fault = farthest, takes_one, counts, fault
        if fault == "mute":
            self.compute_reward = None
        if is_terminal:
            self.compute_terminated = lambda achieved, desired, info: bool(abs(achieved[0] - desired[0]) < 0.5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, np.zeros(1)
        self.goal = self.np_random.uniform(-self.farthest, self.farthest, 1)
        return self._see(), {}

    def step(self, action):
        self.steps += 1
        self.place = self.place + np.clip(action["arm"] if isinstance(action, dict) else action, -1, 1)
        info = {"is_success": bool(abs(self.place - self.goal)[0] < 0.5), "steps": self.steps}
        reward = -float(not info["is_success"]) - self.counts * self.steps
        return self._see(), reward, hasattr(self, "compute_terminated") and info["is_success"], False, info

    def compute_reward(self, achieved_goal, desired_goal, info):
        if self.fault == "raise":
            raise RuntimeError("no idea\nat all")
        distance = np.abs(achieved_goal - desired_goal)[..., 0]
        reward = -(distance >= 0.5).astype(np.float64) - (info["steps"] if self.counts else 0)
        if self.fault == "order" and np.ndim(reward):
            reward = reward[::-1]
        return float(reward) if self.takes_one else reward + (self.fault == "lie")

    def _see(self):
        achieved = np.tile(self.place, 2 if self.fault == "shape" else 1)
        return {"observation": self.place.copy(), "achieved_goal": achieved, "desired_goal": self.goal.copy()}


if "GoalLine-v0" not in gym.registry:
    gym.register("GoalLine-v0", Reach, max_episode_steps=8)
