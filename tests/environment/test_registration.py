"""Environments of a user: a module, a file, arguments in the parameter file; and what a session may not name."""

import json

import gymnasium as gym
import pytest

from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.making.registration import module_name
from digideep.main import main
from digideep.parameters.tree import to_plain
from digideep.utility.errors import UsageError
from tests.support.environments import ConstantReward, Counter
from tests.support.helpers import CLASSIC, tiny

SOURCE = """
import gymnasium as gym
from tests.support.environments import Counter

class Mine(Counter):
    pass

gym.register("MineByFile-v0", Mine, max_episode_steps=8)
"""


def test_a_file_here_is_noted_as_a_module():
    assert module_name("envs/mine.py") == "envs.mine"
    assert module_name("my_package.envs") == "my_package.envs"
    assert module_name(None) is None


@pytest.mark.parametrize("path", ["/somewhere/mine.py", "../mine.py", "session/x-1/mine.py"])
def test_a_file_elsewhere_is_refused(path):
    with pytest.raises(UsageError, match=r"lies outside of the current directory, or is no importable name"):
        module_name(path)


def test_a_run_of_an_environment_in_a_file_notes_its_module_and_no_path(tmp_path, monkeypatch, capfd):
    (tmp_path / "mine_in_a_file.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    panel = tiny(model_name="MineByFile-v0", from_module="mine_in_a_file.py", num_processes=1, number_epochs=1)
    argv = ["--params", CLASSIC, "--session-path", str(tmp_path), "--session-name", "s", "--cpanel", panel]
    assert main([*argv, "--no-monitor-cpu", "--no-monitor-gpu"]) == 0
    assert "MineByFile-v0: exact resume: yes; stepped in 1 process; time limit 8 steps" in capfd.readouterr().out
    checkpoint = json.loads((tmp_path / "s/checkpoints/checkpoint-1/runner.json").read_text())
    assert checkpoint["params"]["env"]["from_module"] == "mine_in_a_file"


@pytest.mark.parametrize(
    "entry_point", [Counter, "tests.support.environments.Counter", "tests.support.environments:Counter"]
)
def test_arguments_in_the_parameter_file_register_an_environment(entry_point):
    registration = {
        "id": "MineByParams-v0",
        "entry_point": entry_point,
        "kwargs": {"length": 3},
        "max_episode_steps": 9,
    }
    gym.registry.pop("MineByParams-v0", None)
    for _ in range(2):  # a second time does no harm
        spec = EnvironmentSpec(name="MineByParams-v0", from_params=to_plain(registration))
        assert inspect_environment(spec).max_episode_steps == 9
    assert make_environment(spec).unwrapped.length == 3


@pytest.mark.parametrize(
    ("registration", "message"),
    [
        ({"id": "A-v0"}, "from_params needs 'entry_point'"),
        ({"id": "A-v0", "entry_pont": "x"}, r"unknown key 'entry_pont'. Did you mean 'entry_point'\?"),
        ({"id": "A-v0", "entry_point": "os:system"}, "the standard library registers no environments"),
        ({"id": "A-v0", "entry_point": "subprocess.Popen"}, "the standard library registers no environments"),
        ({"id": "A-v0", "entry_point": "tests.support.helpers:run"}, "is no subclass of gymnasium.Env"),
        ({"id": "A-v0", "entry_point": "tests.support.environments.time.sleep"}, "cannot be imported"),
        ({"id": "A-v0", "entry_point": "gymnasium:make"}, "is no subclass of gymnasium.Env"),
        ({"id": "A-v0", "entry_point": Counter, "vector_entry_point": "os:system"}, "unknown key 'vector_entry_point'"),
        ({"id": "CartPole-v1", "entry_point": ConstantReward}, "the id 'CartPole-v1' is taken"),
        ({"id": "no version!", "entry_point": Counter}, "from_params cannot be registered"),
    ],
)
def test_what_is_no_registration_is_refused_in_one_line(registration, message):
    with pytest.raises(UsageError, match=message) as caught:
        make_environment(EnvironmentSpec(name="A-v0", from_params=registration))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["antigravity", "os.path"])
def test_the_standard_library_is_not_even_imported(name):
    with pytest.raises(UsageError, match="the standard library registers no environments"):
        make_environment(EnvironmentSpec(name="CartPole-v1", from_module=name))
    with pytest.raises(UsageError, match="the standard library registers no environments"):
        make_environment(EnvironmentSpec(name=f"{name}:CartPole-v1"))


def test_test_explorers_can_have_arguments_of_their_own_that_keep_the_spaces(capsys):
    changes = {"model_name": "Counter-v0", "from_module": "tests.support.environments", "env_kwargs": {"length": 3}}
    argv = ["--params", CLASSIC, "--dry-run", "--cpanel"]
    assert main([*argv, tiny(**changes, number_epochs=2, test_env_kwargs={"length": 5})]) == 0
    last = capsys.readouterr().out.splitlines()[-2].split()
    assert last[-4:-2] == ["6.00", "15.00"]  # 1 + 2 + 3 in training, up to 5 in tests
    stretched = tiny(test_env_kwargs={"continuous": True}, model_name="LunarLander-v3")
    assert main([*argv, stretched]) == 2
    assert "extra_env_kwargs {'continuous': True} change the action_space of LunarLander-v3" in capsys.readouterr().err
