"""The plan of `python -m benchmarks.learning`: a row for each method on each task, and what others published there.

A row is one line: method, recipe, task, frames, number of seeds, what was published, and what differs in the panel.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

EPISODES = 10  # of the last test, without exploration


class Published(NamedTuple):
    """A return that others reached.

    Attributes:
        mean: over their seeds.
        std: standard deviation over their seeds; None where they had one seed, or do not say it.
        source: who they are.
    """

    mean: float
    std: float | None
    source: str

    @property
    def least(self) -> float:
        """What a mean of ours must reach: theirs less one deviation, or less a tenth of its size."""
        return self.mean - (self.std if self.std is not None else 0.1 * abs(self.mean))


class Row(NamedTuple):
    """A method on a task: one group of sessions.

    Attributes:
        method: its name in the table.
        recipe: the parameter file, as `digideep train` takes it.
        task: the environment's id.
        frames: of each run; at least.
        seeds: how many, counted from 0.
        published: what ours is compared with; None where nobody published anything.
        panel: what differs from the recipe.
    """

    method: str
    recipe: str
    task: str
    frames: int
    seeds: int
    published: Published | None = None
    panel: Mapping[str, Any] = MappingProxyType({})

    @property
    def name(self) -> str:
        """The group's directory."""
        return "_".join([self.method, Path(self.task).name, str(self.frames)]).lower().replace(" ", "-")

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells its row in the table from others."""
        return self.task, self.method, f"{self.frames:,}"

    @property
    def cpanel(self) -> dict[str, Any]:
        """What differs from the recipe's panel, the task and the last test included."""
        return {"model_name": self.task, "test_activate": True, "test_win_size": EPISODES, **self.panel}


def _zoo(mean: float, frames: str) -> Published:
    """RL-Zoo's benchmark.md has one run of each; the deviation that stands there is over episodes."""
    return Published(mean, None, f"RL-Zoo, {frames}, one run")


def _cleanrl(mean: float, std: float) -> Published:
    return Published(mean, std, "CleanRL, v4")


def _v4(means: dict[str, float]) -> dict[str, Published]:
    """Means over seeds at 100,000 frames on MuJoCo-v4, from the runs in Lee et al. 2025, arXiv:2502.15280."""
    return {task: Published(mean, None, "Lee et al. 2025, v4") for task, mean in means.items()}


_TIANSHOU = Published(5650, 1226, "Tianshou, v3, 10 seeds")
# What SAC, with other methods of few frames, is compared with: MuJoCo-v4, 100,000 frames.
_SAC = {"HalfCheetah-v5": 6156, "Hopper-v5": 1103, "Walker2d-v5": 690, "Ant-v5": 747}
_CROSSQ = {"HalfCheetah-v5": 8112, "Hopper-v5": 2764, "Walker2d-v5": 3914}
_DROQ = {"HalfCheetah-v5": 7744, "Hopper-v5": 1813, "Walker2d-v5": 2277}
_TASKS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")
_DROPPED = {"HalfCheetah-v5": 0, "Hopper-v5": 5, "Walker2d-v5": 2}  # Kuznetsov et al. 2020, Table 3
_TD3 = {"HalfCheetah-v5": Published(5514, 554, "Fujimoto et al. 2018, 10,000 random frames, too")}

# RL-Zoo's PPO for each task: chunks, minibatches, epochs, gamma, lambda, rate, bonus, normalisation
_PPO_ACROBOT = {"num_workers": 16, "n_steps": 256, "num_mini_batches": 64, "n_update": 4, "gamma": 0.99,
                "gae_lambda": 0.94, "lr": 3e-4, "normalize_observations": True, "normalize_rewards": True}  # fmt: skip
_PPO_PENDULUM = {"num_workers": 4, "n_steps": 1024, "num_mini_batches": 64, "gamma": 0.9, "gae_lambda": 0.95,
                 "lr": 1e-3, "epoch_frames": 8192}  # fmt: skip
_PPO_LANDER = {"num_workers": 16, "n_steps": 1024, "num_mini_batches": 256, "n_update": 4, "gamma": 0.999,
               "gae_lambda": 0.98, "lr": 3e-4, "entropy_coef": 0.01}  # fmt: skip
# Shared by what runs on MuJoCo for 100,000 frames: tests in between would take a fifth of the time
_SHORT = {"test_interval": 10}
_CAR = {"noise_std": 0.5, "gamma": 0.99, "epoch_frames": 5000}  # RL-Zoo's noise for a goal that is seldom found

ROWS = (
    Row("PPO", "params.ppo_classic", "CartPole-v1", 491_520, 5, _zoo(500, "100,000 frames")),
    Row("DQN", "params.dqn_classic", "CartPole-v1", 204_800, 5, _zoo(500, "50,000 frames")),
    Row("A2C", "params.a2c_classic", "CartPole-v1", 491_520, 5, _zoo(500, "500,000 frames")),
    Row("PQN", "params.pqn_classic", "CartPole-v1", 507_904, 5, Published(495, 7, "PQN's authors")),
    Row("QR-DQN", "params.qr_dqn_classic", "CartPole-v1", 204_800, 5, _zoo(500, "50,000 frames")),
    Row("Discrete SAC", "params.sac_discrete_classic", "CartPole-v1", 50_000, 5),
    Row("PPO", "params.ppo_classic", "Acrobot-v1", 1_000_000, 5, _zoo(-73.5, "1,000,000 frames"), _PPO_ACROBOT),
    Row("DQN", "params.dqn_classic", "Acrobot-v1", 204_800, 5, _zoo(-76.6, "100,000 frames")),
    Row("PQN", "params.pqn_classic", "Acrobot-v1", 507_904, 5, Published(-95.6, 5.7, "PQN's authors")),
    Row("QR-DQN", "params.qr_dqn_classic", "Acrobot-v1", 204_800, 5, panel={"critic_outputs": 25}),
    Row("PPO", "params.ppo_classic", "Pendulum-v1", 100_000, 5, _zoo(-172, "100,000 frames, gSDE"), _PPO_PENDULUM),
    Row("SAC", "params.sac_classic", "Pendulum-v1", 20_000, 5, _zoo(-157, "20,000 frames")),
    Row("TQC", "params.tqc_classic", "Pendulum-v1", 20_000, 5, _zoo(-151, "20,000 frames")),
    Row("CrossQ, 256 wide", "params.crossq_classic", "Pendulum-v1", 20_000, 5),
    Row("SACv1", "params.sacv1_classic", "Pendulum-v1", 20_000, 5),
    Row("TD3", "params.td3_mujoco", "Pendulum-v1", 20_000, 5, _zoo(-152, "20,000 frames"),
        {"warm_start": 1000, "gamma": 0.98, "memory_size": 200_000, "epoch_frames": 1000}),
    Row("DDPG", "params.ddpg_classic", "Pendulum-v1", 20_000, 5, _zoo(-152, "20,000 frames")),
    Row("DDPG", "params.ddpg_classic", "MountainCarContinuous-v0", 100_000, 5, _zoo(93.5, "300,000 frames"), _CAR),
    Row("PPO", "params.ppo_classic", "LunarLander-v3", 1_000_000, 5, _zoo(242, "1,000,000 frames, v2"), _PPO_LANDER),
    *(Row("PPO", "params.ppo_mujoco", task, 1_000_000, 5, published) for task, published in (
        ("HalfCheetah-v5", _TIANSHOU), ("Hopper-v5", _cleanrl(2383, 272)), ("Walker2d-v5", _cleanrl(2288, 572)),
        ("Ant-v5", None), ("Swimmer-v5", None), ("Reacher-v5", None),
    )),
    *(Row(method, recipe, task, 100_000, 3, published.get(task), changes)
      for task in _TASKS
      for method, recipe, published, changes in (
        ("SAC", "params.sac_mujoco", _v4(_SAC), _SHORT),
        ("TD3", "params.td3_mujoco", _TD3, _SHORT),
        ("DDPG", "params.ddpg_classic", {}, _SHORT | {"warm_start": 10_000, "gamma": 0.99, "memory_size": 1_000_000,
                                                     "epoch_frames": 5000}),
        ("TQC", "params.tqc_mujoco", {}, _SHORT | {"dropped_quantiles": _DROPPED[task]}),
        ("CrossQ, 256 wide", "params.crossq_mujoco", {}, _SHORT | {"critic_hidden_sizes": [256, 256]}),
    )),
    # Last, since on one core such a run takes from 4 to 14 hours.
    *(Row(method, recipe, task, 100_000, 3, published.get(task), _SHORT)
      for method, recipe, published in (
        ("CrossQ", "params.crossq_mujoco", _v4(_CROSSQ)),
        ("DroQ", "params.droq_mujoco", _v4(_DROQ)),
        ("REDQ", "params.redq_mujoco", {}),
        ("SimBa", "params.simba_mujoco", {}),
      )
      for task in _TASKS),
)  # fmt: skip

# Frames a second of a run on one core, for estimates before anything was measured; others are taken for the slowest.
SPEEDS = {
    "PPO": 6000.0,
    "A2C": 6000.0,
    "PQN": 6000.0,
    "DQN": 2500.0,
    "QR-DQN": 2000.0,
    "Discrete SAC": 600.0,
    "TD3": 150.0,
    "DDPG": 150.0,
    "CrossQ": 8.0,
    "DroQ": 4.0,
    "REDQ": 2.0,
    "SimBa": 2.0,
}
SLOWEST = 80.0
