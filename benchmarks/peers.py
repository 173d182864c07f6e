"""Trains a workload with stable-baselines3, sb3-contrib or SBX, prints the time as JSON; for the peers' environment.

`.venv-bench/bin/python -m benchmarks.peers sb3 ppo-halfcheetah --before 6144 --frames 30720 --threads 1`
"""

import argparse
import importlib
import json
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.workloads import WORKLOADS, Peer

_PACKAGES = {"sb3": "stable_baselines3", "sbx": "sbx"}


def make_model(library: str, peer: Peer, learning_starts: int | None) -> Any:
    """The algorithm, ready to learn."""
    import numpy as np
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

    envs: Any
    if peer.policy == "CnnPolicy":
        import ale_py
        import gymnasium

        gymnasium.register_envs(ale_py)
        envs = VecFrameStack(make_atari_env(peer.environment, peer.num_envs), 4)
    else:
        envs = make_vec_env(peer.environment, peer.num_envs)
    if peer.is_normalized:
        envs = VecNormalize(envs)
    parameters = dict(peer.parameters)
    if learning_starts is not None:
        parameters["learning_starts"] = learning_starts
    if peer.noise_std is not None:
        size = envs.action_space.shape[0]
        parameters["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, peer.noise_std))
    if peer.net_arch is not None:
        parameters["policy_kwargs"] = {"net_arch": list(peer.net_arch), **peer.policy_kwargs}
    package = "sb3_contrib" if library == "sb3" and peer.is_contrib else _PACKAGES[library]
    algorithm = getattr(importlib.import_module(package), peer.algorithm)
    return algorithm(peer.policy, envs, device="cpu", **parameters)


def peer_parser(module: str, doc: str | None, libraries: Iterable[str]) -> argparse.ArgumentParser:
    """Return the arguments that every program of a peer takes. Args: module: of the program; doc: what it is."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=doc)
    parser.add_argument("library", choices=tuple(libraries))
    parser.add_argument("workload", choices=tuple(WORKLOADS))
    parser.add_argument("--before", type=int, default=0, help="frames that are not timed")
    parser.add_argument("--frames", type=int, required=True, help="frames that are timed")
    parser.add_argument("--threads", type=int, default=1, help="of torch; XLA takes what it wants")
    return parser


def main() -> None:
    """Print frames, seconds, and the clock at the end."""
    parser = peer_parser("peers", __doc__, _PACKAGES)
    parser.add_argument("--learning-starts", type=int, help="random frames, instead of the workload's")
    args = parser.parse_args()

    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(args.threads)

    class Clock(BaseCallback):
        """Starts when the next frame is the first to be timed: all updates before it are over."""

        start: tuple[float, int] | None = None

        def _on_rollout_start(self) -> None:
            if self.start is None and self.num_timesteps >= args.before:
                self.start = time.perf_counter(), self.num_timesteps

        def _on_step(self) -> bool:
            return True

    model = make_model(args.library, WORKLOADS[args.workload].peer, args.learning_starts)
    clock = Clock()
    model.learn(args.before + args.frames, callback=clock)
    assert clock.start is not None
    seconds, frames = time.perf_counter() - clock.start[0], model.num_timesteps - clock.start[1]
    print(json.dumps({"frames": frames, "seconds": seconds, "clock": time.time()}))


if __name__ == "__main__":
    main()
