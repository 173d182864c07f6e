"""Trains a workload with skrl or rl_games, prints the time as JSON; for the peers' environment.

`.venv-bench/bin/python -m benchmarks.more_peers skrl ppo-halfcheetah --before 6144 --frames 30720 --threads 1`

Each one runs by its own loop and its own environments, as its examples do: skrl steps gymnasium's SyncVectorEnv, and
rl_games steps EnvPool. Neither normalises rewards by their return; both normalise observations where the workload does.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers import peer_parser
from benchmarks.workloads import WORKLOADS, Peer

LIBRARIES = {
    "skrl": ("ppo-halfcheetah", "ppo-cartpole", "sac-halfcheetah", "td3-halfcheetah", "dqn-cartpole"),
    "rl_games": ("ppo-halfcheetah", "ppo-cartpole"),
}


class Clock:
    """Wraps the steps of a vector environment: starts before the first frame to be timed, when updates are over.

    Args:
        step: of the vector environment.
        num_envs: frames of a step.
        before: frames that are not timed.
    """

    def __init__(self, step: Callable[..., Any], num_envs: int, before: int):
        self._step, self._num_envs, self._before = step, num_envs, before
        self.frames, self.start = 0, 0.0

    def __call__(self, *args: Any) -> Any:
        """Take a step."""
        if not self.start and self.frames >= self._before:
            self.start, self._before = time.perf_counter(), self.frames
        self.frames += self._num_envs
        return self._step(*args)

    def figures(self) -> dict[str, float]:
        """Return frames and seconds since the start, and the clock."""
        seconds = time.perf_counter() - self.start
        return {"frames": self.frames - self._before, "seconds": seconds, "clock": time.time()}


# ------------------------------------------------------------------ skrl


def _network(inputs: str, sizes: list[int], activation: str, output: str, **more: Any) -> dict[str, Any]:
    layers = [{"name": "net", "input": inputs, "layers": sizes, "activations": activation}]
    return {"network": layers, "output": output, **more}


def skrl_models(peer: Peer) -> dict[str, Any]:
    """The "models" of a skrl configuration."""
    sizes = list(peer.net_arch or ())
    both = "concatenate([OBSERVATIONS, ACTIONS])"
    if peer.algorithm == "PPO":
        is_discrete = peer.environment.startswith("CartPole")
        policy = {"class": "CategoricalMixin" if is_discrete else "GaussianMixin"}
        spread = {} if is_discrete else {"initial_log_std": 0.0}
        value = {"class": "DeterministicMixin", **_network("OBSERVATIONS", sizes, "tanh", "ONE")}
        policy |= _network("OBSERVATIONS", sizes, "tanh", "ACTIONS", **spread)
        return {"separate": True, "policy": policy, "value": value}
    if peer.algorithm == "DQN":
        values = {"class": "DeterministicMixin", **_network("OBSERVATIONS", sizes, "relu", "ACTIONS")}
        return {"separate": True, "q_network": values, "target_q_network": values}
    critic = {"class": "DeterministicMixin", **_network(both, sizes, "relu", "ONE")}
    critics = dict.fromkeys(("critic_1", "critic_2", "target_critic_1", "target_critic_2"), critic)
    if peer.algorithm == "SAC":
        actor = {"class": "GaussianMixin", "clip_actions": True, "min_log_std": -5}
        return {"separate": True, "policy": actor | _network("OBSERVATIONS", sizes, "relu", "ACTIONS"), **critics}
    actor = {"class": "DeterministicMixin", "clip_actions": True}
    actor |= _network("OBSERVATIONS", sizes, "relu", "tanh(ACTIONS)")
    return {"separate": True, "policy": actor, "target_policy": actor, **critics}


def skrl_agent(peer: Peer, directory: str) -> dict[str, Any]:
    """The "agent" of a skrl configuration. Args: directory: of its files, of which it writes none."""
    given = peer.parameters
    experiment = {"directory": directory, "write_interval": 0, "checkpoint_interval": 0}
    if peer.algorithm == "PPO":
        batches = given["n_steps"] * peer.num_envs // given["batch_size"]
        scaler = "RunningStandardScaler" if peer.is_normalized else None
        return {
            "class": "PPO", "rollouts": given["n_steps"], "learning_epochs": given["n_epochs"],
            "mini_batches": batches, "learning_rate": given.get("learning_rate", 3e-4), "value_clip": 0.0,
            "value_loss_scale": given["vf_coef"], "entropy_loss_scale": given.get("ent_coef", 0.0),
            "observation_preprocessor": scaler, "time_limit_bootstrap": True, "experiment": experiment,
        }  # fmt: skip
    starts = given["learning_starts"] // peer.num_envs
    agent = {
        "class": peer.algorithm, "gradient_steps": 1, "batch_size": given["batch_size"],
        "learning_rate": given["learning_rate"], "random_timesteps": starts, "learning_starts": starts,
        "experiment": experiment,
    }  # fmt: skip
    if peer.algorithm == "DQN":
        interval = given["target_update_interval"] // peer.num_envs
        return agent | {"target_update_interval": interval, "polyak": 1.0, "update_interval": 1}
    if peer.algorithm == "TD3":
        agent |= {
            "policy_delay": given["policy_delay"], "exploration_noise": "GaussianNoise",
            "exploration_noise_kwargs": {"mean": 0.0, "std": peer.noise_std, "device": "cpu"},
            "smooth_regularization_noise": "GaussianNoise",
            "smooth_regularization_noise_kwargs": {"mean": 0.0, "std": 0.2, "device": "cpu"},
            "smooth_regularization_clip": 0.5,
        }  # fmt: skip
    return agent


def train_skrl(peer: Peer, before: int, frames: int, directory: str) -> Clock:
    """Train with skrl. Returns: the clock."""
    import gymnasium
    import numpy as np
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.utils.runner.torch import Runner

    def in_float32(env: gymnasium.Env) -> gymnasium.Env:
        return gymnasium.wrappers.DtypeObservation(env, np.float32)

    envs = gymnasium.make_vec(peer.environment, peer.num_envs, vectorization_mode="sync", wrappers=[in_float32])
    wrapped = wrap_env(envs, verbose=False)
    memory_size = peer.parameters.get("buffer_size", -peer.num_envs) // peer.num_envs
    runner = Runner(wrapped, {
        "seed": 0,
        "models": json.loads(json.dumps(skrl_models(peer))),  # it takes each of them apart
        "memory": {"class": "RandomMemory", "memory_size": memory_size},
        "agent": skrl_agent(peer, directory),
        "trainer": {
            "class": "SequentialTrainer", "timesteps": (before + frames) // peer.num_envs,
            "headless": True, "disable_progressbar": True, "close_environment_at_exit": False,
        },
    })  # fmt: skip
    clock = Clock(wrapped.step, peer.num_envs, before)
    wrapped.step = clock
    runner.run("train")
    return clock


# ------------------------------------------------------------------ rl_games


def rl_games_parameters(peer: Peer, before: int, frames: int, directory: str) -> dict[str, Any]:
    """A configuration of rl_games."""
    given, is_discrete = peer.parameters, peer.environment.startswith("CartPole")
    space: dict[str, Any] = {"discrete": None}
    if not is_discrete:
        constant = {"name": "const_initializer", "val": 0}
        space = {"continuous": {
            "mu_activation": "None", "sigma_activation": "None", "mu_init": {"name": "default"},
            "sigma_init": constant, "fixed_sigma": True,
        }}  # fmt: skip
    chunk = given["n_steps"] * peer.num_envs
    return {
        "seed": 0,
        "algo": {"name": "a2c_discrete" if is_discrete else "a2c_continuous"},
        "model": {"name": "discrete_a2c" if is_discrete else "continuous_a2c_logstd"},
        "network": {
            "name": "actor_critic", "separate": True, "space": space,
            "mlp": {"units": list(peer.net_arch or ()), "activation": "tanh", "initializer": {"name": "default"}},
        },
        "config": {
            "name": "bench", "full_experiment_name": "bench", "train_dir": directory, "env_name": "games",
            "device": "cpu", "device_name": "cpu", "normalize_input": peer.is_normalized, "normalize_value": False,
            "value_bootstrap": True, "reward_shaper": {"scale_value": 1.0}, "normalize_advantage": True,
            "gamma": 0.99, "tau": 0.95, "learning_rate": given.get("learning_rate", 3e-4), "lr_schedule": None,
            "grad_norm": 0.5, "entropy_coef": given.get("ent_coef", 0.0), "truncate_grads": True, "e_clip": 0.2,
            "clip_value": False, "num_actors": peer.num_envs, "horizon_length": given["n_steps"],
            "minibatch_size": given["batch_size"], "mini_epochs": given["n_epochs"], "critic_coef": 1.0,
            "bounds_loss_coef": 0.0, "max_epochs": (before + frames) // chunk, "score_to_win": 1e9,
            "save_best_after": 10**9, "save_frequency": 0, "print_stats": False, "games_to_track": 100,
            "env_config": {"env_name": peer.environment, "seed": 0},
        },
    }  # fmt: skip


def train_rl_games(peer: Peer, before: int, frames: int, directory: str) -> Clock:
    """Train with rl_games. Returns: the clock."""
    import envpool
    import gym
    import numpy as np
    from rl_games.common import env_configurations, vecenv
    from rl_games.torch_runner import Runner

    class Games(vecenv.IVecEnv):
        """EnvPool as it answers today, with the spaces of gym: rl_games' own class is for versions before 0.7."""

        def __init__(self, _: str, num_actors: int, env_name: str, **kwargs: Any):
            self.envs = envpool.make(env_name, env_type="gymnasium", num_envs=num_actors, **kwargs)
            self.clock = Clock(self.envs.step, num_actors, before)

        def step(self, actions: Any) -> tuple[Any, ...]:
            observations, rewards, terminations, truncations, _ = self.clock(actions)
            ends = terminations | truncations
            return observations.astype(np.float32), rewards, ends, {"time_outs": truncations}

        def reset(self) -> Any:
            return self.envs.reset()[0].astype(np.float32)

        def get_env_info(self) -> dict[str, Any]:
            seen, chosen = self.envs.observation_space, self.envs.action_space
            is_discrete = hasattr(chosen, "n")
            actions = gym.spaces.Discrete(int(chosen.n)) if is_discrete else gym.spaces.Box(chosen.low, chosen.high)
            return {"observation_space": gym.spaces.Box(-np.inf, np.inf, seen.shape), "action_space": actions}

    games: list[Games] = []

    def make(*args: Any, **kwargs: Any) -> Games:
        games.append(Games(*args, **kwargs))
        return games[-1]

    vecenv.register("GAMES", make)
    env_configurations.register("games", {"vecenv_type": "GAMES", "env_creator": None})
    runner = Runner()
    runner.load({"params": rl_games_parameters(peer, before, frames, directory)})
    runner.run({"train": True, "play": False})
    return games[-1].clock


def main() -> None:
    """Print frames, seconds, and the clock at the end."""
    parser = peer_parser("more_peers", __doc__, LIBRARIES)
    args = parser.parse_args()
    if args.workload not in LIBRARIES[args.library]:
        parser.error(
            f"{args.library} is not measured on {args.workload}; on {', '.join(LIBRARIES[args.library])} it is"
        )

    import torch

    torch.set_num_threads(args.threads)
    train = train_skrl if args.library == "skrl" else train_rl_games
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        clock = train(WORKLOADS[args.workload].peer, args.before, args.frames, directory)
    print(json.dumps(clock.figures()))


if __name__ == "__main__":
    main()
