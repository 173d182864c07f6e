"""The runs that are killed: every method in a setting that takes a second or two, and saves and tests all the time."""

from typing import Any, NamedTuple

from tests.support.helpers import CLASSIC, MUJOCO, ROOT

EPOCHS = 10
_COMMON = {"number_epochs": EPOCHS, "num_workers": 2, "save_interval": 1, "keep_checkpoints": 3, "test_interval": 2,
           "compile": "off", "from_module": "tests.kills.marked", "test_env_kwargs": {"is_test": True}}  # fmt: skip
_PPO = {"model_name": "MarkedPole-v0", "epoch_size": 2, "n_steps": 32, "n_update": 2, "test_win_size": 4}
_REPLAY = {"model_name": "MarkedSwing-v0", "epoch_size": 10, "n_steps": 3, "warm_start": 30, "batch_size": 8,
           "hidden_sizes": [8, 8], "memory_size_in_chunks": 1000, "gradient_steps_per_frame": 0.25,
           "test_win_size": 2}  # fmt: skip
_DQN = _REPLAY | {"model_name": "MarkedPole-v0", "test_win_size": 10}
_WRAPPED = {"memory_size_in_chunks": 25}  # chunks; 100 are stored
_SEQUENCES = {"recurrent": True, "core_size": 8, "sequence_length": 4, "burn_in": 2}


class Method(NamedTuple):
    """What is run. Args: params: the parameter file; panel: what differs from `_COMMON`; share: of the kills."""

    params: str
    panel: dict[str, Any]
    share: float = 1.0

    @property
    def cpanel(self) -> dict[str, Any]:
        """For `--cpanel`."""
        return _COMMON | self.panel


def _params(name: str) -> str:
    return str(ROOT / f"params/{name}.py")


METHODS = {
    "ppo": Method(CLASSIC, _PPO),
    "ppo recurrent": Method(CLASSIC, _PPO | {"recurrent": True, "core_size": 8, "sequence_length": 16}),
    "ppo, normalised, in processes": Method(
        MUJOCO,
        _PPO | {"model_name": "MarkedSwing-v0", "num_workers": 3, "num_processes": 2, "test_win_size": 3,
                "num_mini_batches": 4},
    ),
    "several agents, ppo and dqn": Method(
        str(ROOT / "tests/support/mixed_params.py"),
        {"model_name": "tests/marked_roster", "epoch_size": 4, "n_steps": 10, "test_win_size": 50},
    ),
    "sac": Method(_params("sac_classic"), _REPLAY),
    "sac, memory on disk": Method(_params("sac_classic"), _REPLAY | _WRAPPED | {"memory_on_disk": True}),
    "sac, critics with a view of their own": Method(
        _params("sac_classic"), _REPLAY | {"critic_observation_path": "/agent"}, share=0.4
    ),
    "sacv1": Method(_params("sacv1_classic"), _REPLAY),
    "tqc": Method(_params("tqc_classic"), _REPLAY, 0.5),
    "crossq": Method(_params("crossq_classic"), _REPLAY, 0.5),
    "droq": Method(_params("droq_mujoco"), _REPLAY | {"policy_delay": 2}, 0.5),
    "discrete sac": Method(_params("sac_discrete_classic"), _DQN, 0.5),
    "qr-dqn": Method(_params("qr_dqn_classic"), _DQN, 0.5),
    "pqn": Method(_params("pqn_classic"), _PPO | {"num_mini_batches": 2}, 0.5),
    "a2c": Method(_params("a2c_classic"), _PPO, 0.5),
    "td3": Method(_params("td3_mujoco"), _REPLAY | _WRAPPED),
    "ddpg": Method(_params("ddpg_classic"), _REPLAY),
    "dqn": Method(_params("dqn_classic"), _DQN | _WRAPPED),
    "dqn recurrent": Method(_params("dqn_classic"), _DQN | _WRAPPED | _SEQUENCES),
    "sac recurrent": Method(_params("sac_classic"), _REPLAY | _SEQUENCES | {"cell": "lstm"}),
    "dqn, prioritised, overlapping": Method(
        _params("dqn_classic"),
        _DQN | {"prioritized": True, "is_dueling": True, "n_step_return": 3, "overlap": True, "num_processes": 1},
    ),
    "dqn, prioritised, from two memories": Method(
        str(ROOT / "tests/support/demo_params.py"),
        _DQN | {"prioritized": True, "n_step_return": 3, "overlap": True, "num_processes": 1},
    ),
    "ppo, collected ahead": Method(
        MUJOCO, _PPO | {"model_name": "MarkedSwing-v0", "num_mini_batches": 4, "ahead": True}, share=0.4
    ),
    "ppo compiled": Method(CLASSIC, _PPO | {"compile": "on"}, share=0.4),
}  # fmt: skip
