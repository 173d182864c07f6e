"""Sessions that really were trained, for a moment."""

import pytest

from digideep.main import main
from tests.support.helpers import CLASSIC, MUJOCO, ROOT, tiny


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("sessions")


def train(base, name, params, **changes):
    panel = tiny(**changes)
    argv = ["--params", params, "--cpanel", panel, "--session-path", str(base), "--session-name", name, "--quiet"]
    assert main(argv) == 0
    return base / name


@pytest.fixture(scope="session")
def pendulum(base):
    """Normalised observations, actions in [-2, 2]."""
    return train(base, "pendulum", MUJOCO, model_name="Pendulum-v1", n_steps=250, n_update=1)


@pytest.fixture(scope="session")
def cartpoles(base):
    """Two seeds of one plan, and another plan."""
    plans = {"cart_0": {"seed": 0}, "cart_1": {"seed": 1}, "cart_other": {"seed": 0, "gamma": 0.9}}
    return [train(base, name, CLASSIC, **changes) for name, changes in plans.items()]


BRIEF = {"number_epochs": 1, "epoch_size": 4, "test_activate": False, "num_mini_batches": 2}
REPLAY = {"number_epochs": 1, "epoch_size": 4, "test_activate": False, "n_steps": 16, "warm_start": 20, "batch_size": 8,
          "memory_size_in_chunks": 4}  # fmt: skip
SENSES = {"model_name": "Senses-v0", "from_module": "tests.support.senses"}
MASKED = {"model_name": "Forbidding-v0", "from_module": "tests.support.senses", "use_action_mask": True}
MEMORY = {"recurrent": True, "core_size": 8}
# One session of each kind of policy: its parameter file, and what is changed of it.
KINDS = {
    "sac": ("sac_classic", REPLAY),
    "ddpg": ("ddpg_classic", REPLAY),
    "crossq": ("crossq_classic", REPLAY | {"hidden_sizes": [16, 16]}),
    "tqc": ("tqc_classic", REPLAY | {"hidden_sizes": [16, 16]}),
    "simba": ("sac_classic", REPLAY | {"network": "simba", "hidden_sizes": [16]}),
    "discrete sac with masks": ("sac_discrete_classic", REPLAY | MASKED | {"hidden_sizes": [16, 16],
                                                                           "env_kwargs": {"place": "observation"}}),
    "pqn": ("pqn_classic", BRIEF | {"hidden_sizes": [16, 16]}),
    "td3 on float64": ("td3_mujoco", REPLAY | {"model_name": "Noise-v0", "from_module": "tests.support.environments"}),
    "dueling with masks": ("dqn_classic", REPLAY | MASKED | {"is_dueling": True, "n_step_return": 3,
                                                             "env_kwargs": {"place": "observation"}}),
    "lstm": ("ppo_classic", BRIEF | MEMORY | {"model_name": "Recall-v0", "from_module": "tests.support.environments",
                                              "env_kwargs": {"delay": 4}, "cell": "lstm"}),
    "shared gru with masks": ("ppo_classic", BRIEF | MASKED | MEMORY | {"env_kwargs": {"actions": "many"},
                                                                       "share_core": True}),
    "gru over everything": ("ppo_classic", BRIEF | SENSES | MEMORY | {"env_kwargs": {"actions": "bits"}}),
    "players": ("tests", BRIEF),
}  # fmt: skip
SLASHED = {
    "names with slashes": ("ppo_classic", BRIEF | {"model_name": "Slashed-v0", "from_module": "tests.support.rare"})
}


@pytest.fixture(scope="session")
def session_of(base):
    """A function from a key of `KINDS` or `SLASHED` to a session, which is trained when it is first asked for."""
    made = {}

    def make(kind):
        if kind not in made:
            params, changes = (KINDS | SLASHED)[kind]
            file = ROOT / "tests/support/mixed_params.py" if params == "tests" else ROOT / f"params/{params}.py"
            made[kind] = train(base, kind.replace(" ", "_"), str(file), **changes)
        return made[kind]

    return make
