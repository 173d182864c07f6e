"""What is measured: for each workload our parameter file with its control panel, and the same in the peers' words.

The peers, stable-baselines3 (with sb3-contrib) and SBX, take the same parameters under the same names.
`tests/test_benchmarks.py` holds both sides to the same values. Standard library only: the peers' Python reads this file
too.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Peer:
    """A workload in the words of stable-baselines3 and SBX.

    Attributes:
        algorithm: class of both libraries.
        is_contrib: sb3-contrib has it, not stable-baselines3 itself.
        has_sbx: SBX has it too.
        environment: id.
        num_envs: stepped together, in the main process.
        policy: "MlpPolicy" or "CnnPolicy".
        net_arch: sizes of the hidden layers; None leaves them to the policy.
        policy_kwargs: further keyword arguments of the policy.
        parameters: keyword arguments of the algorithm.
        is_normalized: observations and rewards are normalised.
        noise_std: of the Gaussian that is added to actions; None for none.
    """

    algorithm: str
    environment: str
    num_envs: int = 1
    policy: str = "MlpPolicy"
    net_arch: tuple[int, ...] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    is_normalized: bool = False
    noise_std: float | None = None
    is_contrib: bool = False
    has_sbx: bool = True
    policy_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the library that runs on torch."""
        return "sb3-contrib" if self.is_contrib else "stable-baselines3"


@dataclass(frozen=True)
class Workload:
    """One training, the same for all.

    Attributes:
        title: what it is, for a reader of the table.
        params: our parameter file.
        cpanel: our values where they differ from the file's; with `epoch_frames` and epochs they give `panel`.
        epoch_frames: frames of an epoch. The first epoch is not timed: it holds the random start and the compiling.
        cycle_frames: frames of a cycle of ours.
        epochs: that are timed.
        peer: the same for the peers.
        variants: further runs of ours, by name, each with the values that differ.
    """

    title: str
    params: str
    cpanel: dict[str, Any]
    epoch_frames: int
    cycle_frames: int
    epochs: int
    peer: Peer
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)

    def panel(self, epochs: int | None = None, **changes: Any) -> dict[str, Any]:
        """`--cpanel` of a run: no tests, no checkpoints but the last, which is written after the clock has stopped."""
        epochs = self.epochs if epochs is None else epochs
        rhythm = {"number_epochs": 1 + epochs, "epoch_size": self.epoch_frames // self.cycle_frames}
        quiet = {"test_activate": False, "save_interval": 1000, "compile": "on"}
        return rhythm | quiet | self.cpanel | changes


_PPO_HALF_CHEETAH = Workload(
    "PPO, HalfCheetah-v5: 4 environments x 512 steps, 10 epochs, minibatches of 64, two 64-64 tanh networks, "
    "observations and rewards normalised",
    "params/ppo_mujoco.py",
    # What differs from stable-baselines3's way in our recipe: its value loss, advantages and spread instead.
    {
        "gae_lambda": 0.95,
        "value_loss_coef": 0.5,
        "normalize_advantages": True,
        "recompute_advantages": False,
        "log_std_init": 0.0,
    },
    epoch_frames=6_144,
    cycle_frames=2_048,
    epochs=5,
    peer=Peer(
        "PPO",
        "HalfCheetah-v5",
        num_envs=4,
        net_arch=(64, 64),
        parameters={"n_steps": 512, "batch_size": 64, "n_epochs": 10, "vf_coef": 0.5},
        is_normalized=True,
    ),
    variants={"ahead": {"ahead": True}},
)

_PPO_CART_POLE = Workload(
    "PPO, CartPole-v1: 8 environments x 128 steps, 4 epochs, minibatches of 256, two 64-64 tanh networks",
    "params/ppo_classic.py",
    {"recompute_advantages": False, "n_update": 4, "gamma": 0.99, "gae_lambda": 0.95, "entropy_coef": 0.01},
    epoch_frames=40_960,
    cycle_frames=1_024,
    epochs=4,
    peer=Peer(
        "PPO",
        "CartPole-v1",
        num_envs=8,
        net_arch=(64, 64),
        parameters={
            "n_steps": 128,
            "batch_size": 256,
            "n_epochs": 4,
            "vf_coef": 0.5,
            "ent_coef": 0.01,
            "learning_rate": 5e-4,
        },
    ),
)

_REPLAY = {"buffer_size": 1_000_000, "learning_starts": 400, "batch_size": 256, "train_freq": 1, "gradient_steps": 1}

_SAC_HALF_CHEETAH = Workload(
    "SAC, HalfCheetah-v5: one environment, 256-256 networks, batches of 256, one gradient step per frame",
    "params/sac_mujoco.py",
    {"warm_start": 400, "num_threads": 2, "lr_actor": 3e-4, "lr_critic": 3e-4, "lr_alpha": 3e-4, "alpha": 1.0},
    epoch_frames=500,
    cycle_frames=1,
    epochs=3,
    peer=Peer("SAC", "HalfCheetah-v5", net_arch=(256, 256), parameters=_REPLAY | {"learning_rate": 3e-4}),
    variants={"bf16": {"precision": "bf16"}},
)

_TD3_HALF_CHEETAH = Workload(
    "TD3, HalfCheetah-v5: one environment, 256-256 networks, batches of 256, one gradient step per frame",
    "params/td3_mujoco.py",
    {"warm_start": 400, "num_threads": 2},
    epoch_frames=1_000,
    cycle_frames=1,
    epochs=3,
    peer=Peer(
        "TD3",
        "HalfCheetah-v5",
        net_arch=(256, 256),
        parameters=_REPLAY | {"learning_rate": 1e-3, "policy_delay": 2},
        noise_std=0.1,
    ),
    variants={"bf16": {"precision": "bf16"}},
)

_TQC_HALF_CHEETAH = Workload(
    "TQC, HalfCheetah-v5: one environment, 256-256 networks, 2 critics of 25 quantiles of which 2 are dropped, batches "
    "of 256, one gradient step per frame",
    "params/tqc_mujoco.py",
    _SAC_HALF_CHEETAH.cpanel | {"dropped_quantiles": 2},
    epoch_frames=500,
    cycle_frames=1,
    epochs=3,
    peer=Peer(
        "TQC",
        "HalfCheetah-v5",
        net_arch=(256, 256),
        parameters=_REPLAY | {"learning_rate": 3e-4, "top_quantiles_to_drop_per_net": 2},
        is_contrib=True,
    ),
)

_CROSSQ_HALF_CHEETAH = Workload(
    "CrossQ, HalfCheetah-v5: one environment, 256-256 networks, batches of 256, one gradient step per frame, and the "
    "actor's in every third",
    "params/crossq_mujoco.py",
    {"warm_start": 400, "num_threads": 2, "critic_hidden_sizes": [256, 256]},
    epoch_frames=500,
    cycle_frames=1,
    epochs=3,
    peer=Peer(
        "CrossQ",
        "HalfCheetah-v5",
        net_arch=(256, 256),
        parameters=_REPLAY | {"learning_rate": 1e-3, "policy_delay": 3},
        is_contrib=True,
    ),
)

_DQN_CART_POLE = Workload(
    "DQN, CartPole-v1: 4 environments, one gradient step per 4 frames (after each step of the 4), 64-64 networks, "
    "batches of 128, the target copied every 500 frames",
    "params/dqn_classic.py",
    {
        "n_steps": 1,
        "memory_size_in_chunks": 25_000,
        "gradient_steps_per_frame": 0.25,
        "target_update_interval": 125,
        "n_step_return": 1,
        "is_double": False,
        "hidden_sizes": [64, 64],
    },
    epoch_frames=10_000,
    cycle_frames=4,
    epochs=3,
    peer=Peer(
        "DQN",
        "CartPole-v1",
        num_envs=4,
        net_arch=(64, 64),
        parameters={
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "batch_size": 128,
            "train_freq": 1,  # steps of all 4 environments
            "gradient_steps": 1,
            "target_update_interval": 500,
            "learning_rate": 5e-4,
        },
    ),
)

_QR_DQN_CART_POLE = Workload(
    "QR-DQN, CartPole-v1: as DQN, with 10 quantiles",
    "params/qr_dqn_classic.py",
    _DQN_CART_POLE.cpanel,
    epoch_frames=10_000,
    cycle_frames=4,
    epochs=3,
    peer=Peer(
        "QRDQN",
        "CartPole-v1",
        num_envs=4,
        net_arch=(64, 64),
        parameters=_DQN_CART_POLE.peer.parameters,
        is_contrib=True,
        has_sbx=False,
        policy_kwargs={"n_quantiles": 10},
    ),
)

_PPO_PONG = Workload(
    "PPO, Pong: 8 environments x 128 steps, 4 epochs, minibatches of 256, one NatureCNN for policy and values",
    "params/ppo_atari.py",
    {"num_threads": 2, "use_clipped_value_loss": False},
    epoch_frames=2_048,
    cycle_frames=1_024,
    epochs=2,
    peer=Peer(
        "PPO",
        "PongNoFrameskip-v4",
        num_envs=8,
        policy="CnnPolicy",
        parameters={
            "n_steps": 128,
            "batch_size": 256,
            "n_epochs": 4,
            "vf_coef": 0.5,
            "ent_coef": 0.01,
            "clip_range": 0.1,
            "learning_rate": 2.5e-4,
        },
    ),
    variants={"bf16": {"precision": "bf16"}},
)

WORKLOADS: dict[str, Workload] = {
    "ppo-halfcheetah": _PPO_HALF_CHEETAH,
    "ppo-cartpole": _PPO_CART_POLE,
    "sac-halfcheetah": _SAC_HALF_CHEETAH,
    "td3-halfcheetah": _TD3_HALF_CHEETAH,
    "tqc-halfcheetah": _TQC_HALF_CHEETAH,
    "crossq-halfcheetah": _CROSSQ_HALF_CHEETAH,
    "dqn-cartpole": _DQN_CART_POLE,
    "qr-dqn-cartpole": _QR_DQN_CART_POLE,
    "ppo-pong": _PPO_PONG,
}
