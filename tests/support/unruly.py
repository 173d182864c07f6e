"""Environments that do what no environment should, each in one way. Importing this module registers them."""

import ctypes
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class Unruly(gym.Env):
    """Episodes of five steps, or without an end; reward 1. `kind` is "<what> in <where>".

    Args:
        kind: what it does, and in which of its methods ("step" means the third).
        length: of an episode; None for no end.
        log: a file, for a line with each step and each close.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 30}  # noqa: RUF012
    observation_space, action_space = Box(-1, 1, (3,), np.float32), Discrete(2)

    def __init__(self, kind="", length=5, log=None, render_mode=None):
        self.kind, self.length, self.log, self.render_mode = kind, length, log, render_mode
        self.steps, self.t, self.children = 0, 0, []
        if kind == "a child of subprocess":
            self.children = [subprocess.Popen(["sleep", "600"])]
        if kind == "a child of multiprocessing":
            self.children = [multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))]
            self.children[0].start()
        for child in self.children:
            self._note(f"child {child.pid}")
        self._misbehave("init")

    def _note(self, line):
        if self.log is not None:
            with open(self.log, "a") as file:
                file.write(f"{line}\n")

    def _misbehave(self, where):
        what, _, place = self.kind.partition(" in ")
        if place != where or (where == "step" and self.steps != 3):
            return
        if what == "exit 0":
            sys.exit(0)
        if what == "exit text":
            sys.exit("the simulator has gone")
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "generator exit":
            raise GeneratorExit
        if what == "raise":
            raise RuntimeError("the gripper is stuck")
        if what == "remove the session":
            shutil.rmtree(Path(self.log).parent / "s", ignore_errors=True)
        if what == "hang":
            time.sleep(3600)
        if what == "fork" and os.fork() == 0:
            return
        if what == "fork and exit" and os.fork() == 0:
            sys.exit(3)
        if what == "stop" and Path(f"{self.log}.stop").exists():
            Path(f"{self.log}.stop").unlink()
            os.kill(os.getpid(), signal.SIGTERM)
        if what == "print":
            print("the environment speaks")
            os.write(1, b"its library speaks\n")
            ctypes.CDLL(None).printf(b"its library speaks, into a buffer\n")

    def _observe(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self._misbehave("reset")
        return self._observe(), {}

    def step(self, action):
        self.t, self.steps = self.t + 1, self.steps + 1
        self._misbehave("step")
        if self.length is None:
            time.sleep(0.001)
        return self._observe(), 1.0, False, self.t == self.length, {}

    def render(self):
        self._misbehave("render")
        return np.full((32, 32, 3), 40 * self.t, np.uint8)

    def close(self):
        for child in self.children:
            child.kill()
            (child.wait if isinstance(child, subprocess.Popen) else child.join)()
        self._note(f"closed in {os.getpid()}")
        self._misbehave("close")


class Films(Unruly):
    """What `render` gives is described by `kind`. All films begin dark and become light."""

    def render(self):
        shade = self.t / 5
        picture = np.full((32, 48, 3), int(255 * shade), np.uint8)
        if self.kind == "one buffer":
            self.buffer = getattr(self, "buffer", picture)
            self.buffer[:] = picture
            return self.buffer
        if self.kind == "none at times":
            return picture if self.t % 2 == 0 else None
        if self.kind == "raises late" and self.t == 3:
            raise RuntimeError("the lamp is broken")
        return {
            "floats": picture / 255,
            "floats to 255": picture.astype(np.float32),
            "grey": picture[..., 0],
            "grey with a colour": picture[..., :1],
            "RGBA": np.concatenate([picture, picture[..., :1]], -1),
            "channels first": picture.transpose(2, 0, 1),
            "a list": [picture],
            "an empty list": [],
            "integers": picture.astype(np.int64),
            "bool": picture > 128,
            "a size that changes": picture if self.t < 3 else picture[:20, :30],
            "a size that grows": picture[:20, :30] if self.t < 3 else picture,
            "an odd size": picture[:31, :47],
            "nothing": None,
            "text": "a picture",
        }.get(self.kind, picture)


def log_of(path: Path) -> list[str]:
    """Lines that an environment has noted."""
    return path.read_text().splitlines() if path.exists() else []


def alive(pid: int) -> bool:
    """True if a process runs: neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


for each in (Unruly, Films):
    if f"{each.__name__}-v0" not in gym.registry:
        gym.register(f"{each.__name__}-v0", each)
