"""What a session keeps of the sources that ran, and that `--frozen` runs those and no others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from digideep.main import main
from digideep.pipeline.kept_sources import find_package, keep_sources
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, ROOT, tiny

# A project: a parameter file that imports a recipe and a helper, a package with an environment, a wrapper, an agent and
# a Runner, and a part of a namespace.
PROJECT = {
    "tqc.py": """
import helper
from digideep.environment.making.wrappers import describe_wrapper
from my_project import method
from my_project.runner import MyRunner
from params import ppo_classic
from spaces_of_mine import wrapper

cpanel = ppo_classic.cpanel | {"model_name": "OfAProject-v0", "from_module": "my_project.envs", "gamma": helper.GAMMA}

def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    tree["agents"]["agent"]["class"] = method.MyAgent
    tree["runner"]["class"] = MyRunner
    tree["env"]["norm_wrappers"] = [describe_wrapper(wrapper.MyWrapper, scale=2.0)]
    return tree
""",
    "helper.py": "GAMMA = 0.9\n",
    "my_project/__init__.py": '"""Mine."""\n',
    "my_project/method.py": "from digideep.agent.ppo import PPO\nclass MyAgent(PPO): pass\n",
    "my_project/runner.py": "from digideep.pipeline.runner import Runner\nclass MyRunner(Runner): pass\n",
    "my_project/envs.py": """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv

class Mine(CartPoleEnv):
    def reset(self, **options):
        from .inner import later
        return later.begin(super().reset(**options))

gym.register("OfAProject-v0", "my_project.envs:Mine", max_episode_steps=20)
""",
    "my_project/inner/later.py": "def begin(first): return first\n",
    "spaces_of_mine/wrapper.py": """
import gymnasium as gym
from digideep.parameters.component import Component

class MyWrapper(gym.RewardWrapper, Component):
    def __init__(self, env, *, scale):
        super().__init__(env)
        self.scale = scale

    def reward(self, reward):
        return self.scale * reward
""",
}  # fmt: skip
UNUSED = {"unused.py": "", "data/large.csv": "1,2\n", "my_project/table.csv": "3,4\n", ".venv/pyvenv.cfg": "",
          "my_project/env/pyvenv.cfg": "", "my_project/env/other.py": ""}  # fmt: skip


def write(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def start(directory, *arguments):
    """The program in a directory, as a process; digideep and the recipes come from PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    code = "import sys; sys.path.remove(''); from digideep.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=directory, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session of a project of its own, in the place where sessions are by default."""
    project = write(tmp_path_factory.mktemp("project"), PROJECT | UNUSED)
    write(project / "my_project/digideep_sessions/old/modules", {"of_another_session.py": ""})
    panel = tiny(number_epochs=1, num_workers=2, num_processes=1)
    done = start(project, "--params", "tqc.py", "--cpanel", panel, "--session-name", "s")
    assert done.returncode == 0, done.stderr
    return project / "digideep_sessions/s"


def test_all_that_is_the_users_is_kept_under_its_own_name(session):
    for name, text in PROJECT.items():
        assert (session / "modules" / name).read_text() == text
    assert (session / "modules/params/ppo_classic.py").read_text() == Path(CLASSIC).read_text()
    assert (session / "modules/digideep/agent/ppo.py").exists()


def test_nothing_else_is_kept(session):
    kept = {str(path.relative_to(session / "modules")) for path in session.rglob("*") if path.is_file()
            and path.is_relative_to(session / "modules")}  # fmt: skip
    others = {name for name in kept if not name.startswith(("digideep/", "params/"))} - set(PROJECT)
    assert others == {"requirements.txt", "spaces_of_mine/__init__.py", "my_project/inner/__init__.py"}
    assert sum(path.stat().st_size for path in (session / "modules").rglob("*")) < 3e6


def test_what_was_installed_is_noted(session):
    import torch

    lines = (session / "modules/requirements.txt").read_text().splitlines()
    assert lines[0].startswith("# What was installed when the session was made, for Python 3.")
    assert f"torch=={torch.__version__}" in lines


def test_the_commit_of_the_users_repository_is_noted(tmp_path):
    project = write(tmp_path / "project", {"tqc.py": ""})
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    params = type(sys)("tqc_of_a_repository")
    params.__file__ = str(project / "tqc.py")
    keep_sources(tmp_path / "modules", params, [])
    assert f"commit {commit}." in (tmp_path / "modules/requirements.txt").read_text()


def test_a_large_file_is_left_out_and_said(tmp_path, monkeypatch, caplog):
    write(tmp_path, {"params_beside.py": "", "huge_of_mine.py": "#" * 2_000_000 + "\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    import huge_of_mine  # noqa: F401
    import params_beside

    try:
        with caplog.at_level("WARNING", logger="digideep"):
            keep_sources(tmp_path / "modules", params_beside, [])
    finally:
        del sys.modules["huge_of_mine"], sys.modules["params_beside"]
    assert (tmp_path / "modules/params_beside.py").exists()
    assert not (tmp_path / "modules/huge_of_mine.py").exists()
    assert "huge_of_mine.py" in caplog.text


def test_of_what_is_installed_only_recipes_are_kept(tmp_path, monkeypatch):
    installed = write(tmp_path / "site-packages", {"params/recipe_of_a_wheel.py": "", "library_of_others.py": ""})
    monkeypatch.syspath_prepend(str(installed))
    import library_of_others  # noqa: F401
    import params.recipe_of_a_wheel as recipe

    try:
        keep_sources(tmp_path / "modules", recipe, [])
    finally:
        del sys.modules["library_of_others"], sys.modules["params.recipe_of_a_wheel"]
    assert (tmp_path / "modules/params/recipe_of_a_wheel.py").exists()
    assert not (tmp_path / "modules/library_of_others.py").exists()


def test_a_copy_of_a_recipe_keeps_those_that_it_is_built_upon(tmp_path):
    recipe = (ROOT / "params/ppo_mujoco.py").read_text()
    project = write(tmp_path / "project", {"runner_of_mine.py": recipe})
    panel = tiny(model_name="Pendulum-v1")
    done = start(
        project, "--params", "runner_of_mine.py", "--cpanel", panel, "--session-name", "s", "--create-session-only"
    )
    assert done.returncode == 0, done.stderr
    modules = project / "digideep_sessions/s/modules"
    assert (modules / "runner_of_mine.py").read_text() == recipe
    assert {path.name for path in (modules / "params").iterdir()} == {
        "__init__.py",
        "demonstrations.py",
        "ppo_classic.py",
        "shared.py",
    }
    code = "import runner_of_mine as mine; mine.gen_params(mine.cpanel); print(mine.ppo_classic.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    alone = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert alone.stdout.strip() == str(modules / "params/ppo_classic.py"), alone.stderr


def test_frozen_plays_anywhere_what_ran_and_says_so(session, tmp_path, monkeypatch, capfd):
    play = ["--play", "--load-checkpoint", str(session), "--json", "--episodes", "2", "--seed", "5"]
    edited = write(tmp_path / "edited", dict.fromkeys(PROJECT, "raise RuntimeError('edited')\n"))
    write(edited, {"params/__init__.py": "", "params/ppo_classic.py": "1 / 0\n", "spaces_of_mine/__init__.py": ""})
    (tmp_path / "empty").mkdir()
    expected = start(session.parents[1], *play)
    assert expected.returncode == 0, expected.stderr
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for place in ("empty", "edited"):
        monkeypatch.chdir(tmp_path / place)
        capfd.readouterr()
        assert main([*play, "--frozen"]) == 0
        output, error = capfd.readouterr()
        assert json.loads(output)["returns"] == json.loads(expected.stdout)["returns"]
        assert error.splitlines()[0] == f"digideep: running the code that the session keeps in {session}/modules"


def test_without_frozen_nothing_of_modules_is_found(session, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(session / "modules"), *sys.path])
    assert main(["--play", "--load-checkpoint", str(session)]) == 2
    error = capsys.readouterr().err
    assert "lies in the session" in error
    assert "--frozen" in error


def test_a_module_inside_packages_is_found_and_none_of_them_is_imported(tmp_path, monkeypatch):
    (tmp_path / "own_parent/inner").mkdir(parents=True)
    for path in ("own_parent/__init__.py", "own_parent/inner/__init__.py"):
        (tmp_path / path).write_text("raise SystemExit('imported')\n")
    module = tmp_path / "own_parent/inner/leaf.py"
    module.touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_package("own_parent.inner.leaf") == module
    assert find_package("own_parent.inner") == module.parent
    for missing in ("own_parent.inner.none", "own_parent.inner.leaf.more", "own_parent..inner"):
        with pytest.raises(UsageError, match="is no Python package"):
            find_package(missing)
