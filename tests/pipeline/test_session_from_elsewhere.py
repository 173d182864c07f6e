"""A session from elsewhere names code that came with it: nothing of it runs, whatever is done with the session."""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from digideep.main import main
from digideep.post.export import main as export
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, ROOT, tiny

CODE = """import pathlib
pathlib.Path(r'{ran}').write_text('ran')
from digideep.environment.normalizers import VecNormalizeObs as Wrapper
from digideep.agent.ppo import PPO as Agent
from digideep.policy.stochastic import StochasticPolicy as Policy
from digideep.pipeline.runner import Runner
from gymnasium.envs.classic_control import CartPoleEnv as Env
"""
REGISTRATION = {"id": "OfASession-v0", "entry_point": "PLACE.x:Env"}
NAMES = {
    "from_module": ("/env/from_module", "PLACE.x"),
    "entry_point": ("/env/from_params", REGISTRATION),
    "environment": ("/env/name", "PLACE.x:CartPole-v1"),
    "package": ("/env/name", "PLACE:CartPole-v1"),
    "wrapper": ("/env/norm_wrappers", [{"class": "PLACE.x.Wrapper"}]),
    "vector_wrapper": ("/env/vect_wrappers", [{"class": "PLACE.x.Wrapper"}]),
    "agent": ("/agents/agent/class", "PLACE.x.Agent"),
    "policy": ("/agents/agent/policy/class", "PLACE.x.Policy"),
    "runner": ("/runner/class", "PLACE.x.Runner"),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A session that can be resumed, played and exported."""
    base = tmp_path_factory.mktemp("original")
    panel = tiny(number_epochs=2, test_activate=False, max_exec_iter=1)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(base), "--session-name", "s", "--quiet"]
    assert main(argv) == 75
    return base / "s"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # to be put back: within a session the program sets it
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("digideep_sessions", "s", "link", "deep")]:
        del sys.modules[name]


def plant(original, session, place, what):
    """A copy of a session that names a module of its own, under the right hashes."""
    shutil.copytree(original, session)
    for file in ("x.py", "__init__.py"):
        (session / file).write_text(CODE.format(ran=session.parent / "ran"))
    path, value = NAMES[what]
    value = json.loads(json.dumps(value).replace("PLACE", place))

    def named(tree):
        *parents, last = path.strip("/").split("/")
        node = tree
        for key in parents:
            node = node[key]
        node[last] = value
        if what == "entry_point":
            tree["env"]["name"] = "OfASession-v0"
        return tree

    file = session / "params.yaml"
    file.write_text(yaml.safe_dump(named(yaml.safe_load(file.read_text()))))
    for checkpoint in session.glob("checkpoints/checkpoint-*"):
        state = json.loads((checkpoint / "runner.json").read_text())
        named(state["params"])
        data = json.dumps(state).encode()
        (checkpoint / "runner.json").write_bytes(data)
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        manifest["files"]["runner.json"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    importlib.invalidate_caches()
    return session


def refuse(capsys, session, command):
    """The command ends with exit code 2 and one line that names the session, and nothing of the session ran."""
    capsys.readouterr()
    assert command() == 2
    error = capsys.readouterr().err
    assert "lies in the session" in error
    assert len(error.splitlines()) == 1
    assert not (session.parent / "ran").exists()


WAYS = {
    "play": lambda session: main(["--play", "--load-checkpoint", str(session), "--episodes", "1", "--render", "none"]),
    "resume": lambda session: main(["--resume", str(session)]),
    "custom": lambda session: main(["--custom", "--load-checkpoint", str(session)]),
    "export": lambda session: export([str(session), "--format", "torchscript"]),
}


@pytest.mark.parametrize("what", NAMES)
def test_no_name_leads_into_the_session(original, here, capsys, what):
    session = plant(original, here / "digideep_sessions/s", "digideep_sessions.s", what)
    for way in WAYS.values():
        refuse(capsys, session, lambda way=way: way(session))
    with pytest.raises(UsageError, match="lies in the session"):
        Loader(session).policy()
    assert not (session.parent / "ran").exists()


@pytest.mark.parametrize("what", ["from_module", "entry_point", "environment", "package", "wrapper"])
def test_params_yaml_alone_leads_nowhere(original, here, what):
    session = plant(original, here / "s", "s", what)
    with pytest.raises(UsageError, match="lies in the session"):
        Loader(session).environment()
    shutil.rmtree(session / "checkpoints")
    with pytest.raises(UsageError, match="is no whole session"):
        Loader(session).environment()
    assert not (here / "ran").exists()


@pytest.mark.parametrize("what", ["from_module", "agent"])
@pytest.mark.parametrize("place", ["s", "deep.er.s", "link", "digideep_sessions.other"])
def test_wherever_the_session_lies(original, here, capsys, place, what):
    path = here.joinpath(*("s" if place == "link" else place).split("."))
    session = plant(original, path, place, what)
    (here / "link").symlink_to(session)
    if place.endswith("other"):  # code in one session, named by another one
        session = plant(original, here / "elsewhere/s", place, what)
        (session.parent / "ran").symlink_to(path.parent / "ran")
    refuse(capsys, session, lambda: WAYS["play"](session))
    if place == "link":
        refuse(capsys, session, lambda: WAYS["play"](here / "link"))


@pytest.mark.parametrize("what", ["from_module", "runner"])
def test_a_session_as_the_working_directory_is_not_on_the_path_of_modules(original, here, capsys, monkeypatch, what):
    session = plant(original, here / "s", "PLACE", what)
    for file in ("params.yaml", "checkpoints/checkpoint-1/runner.json"):
        assert "PLACE.x" in (session / file).read_text()
    (session / "PLACE").mkdir()
    (session / "PLACE/x.py").write_text((session / "x.py").read_text())
    monkeypatch.chdir(session)
    capsys.readouterr()
    assert WAYS["play"](".") == 2
    assert "No module named 'PLACE'" in capsys.readouterr().err
    assert str(session) not in sys.path
    sys.path.insert(0, "")  # as `python -m` has it
    refuse(capsys, session, lambda: WAYS["play"]("."))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has every child process look where it is started")
def test_worker_processes_and_dashboards_do_not_look_in_a_session_for_modules(original, here):
    session = shutil.copytree(original, here / "s")
    for name in ("multiprocessing", "numpy", "digideep", "tensorboard"):
        (session / name).mkdir()
        (session / name / "__init__.py").write_text(CODE.format(ran=here / "ran"))
    argv = ["--resume", ".", "--tensorboard", "--repeal", '{"/explorer/train/num_processes": 1}']
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *argv], cwd=session, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (here / "ran").exists()


def test_what_repeal_names_may_be_anything_outside_of_sessions(original, here, capsys):
    session = plant(original, here / "s", "tests.support.environments", "runner")
    (here / "my_runner.py").write_text("from digideep.pipeline.runner import Runner\nclass Mine(Runner): pass\n")
    importlib.invalidate_caches()
    try:
        repeal = json.dumps({"/runner/class": "my_runner.Mine"})
        assert main(["--resume", str(session), "--repeal", repeal, "--quiet"]) == 0
        assert "my_runner" in sys.modules
    finally:
        sys.modules.pop("my_runner", None)
    repeal = json.dumps({"/runner/class": "s.x.Runner"})
    refuse(capsys, session, lambda: main(["--resume", str(session), "--repeal", repeal]))


def test_a_parameter_file_in_a_session_is_the_users_own_word(original, here, capsys):
    session = shutil.copytree(original, here / "s")
    kept = next(session.glob("modules/**/ppo_classic.py"))
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "ppo_classic"}
    try:
        assert main(["--params", str(kept), "--dry-run", "--cpanel", tiny(number_epochs=1, test_activate=False)]) == 0
        mine = session / "of_a_session.py"
        mine.write_text(
            "from params.ppo_classic import cpanel, gen_params as recipe\nfrom digideep.pipeline.runner import Runner\n"
            "class Mine(Runner): pass\n"
            "def gen_params(cpanel):\n    tree = recipe(cpanel)\n    tree['runner']['class'] = Mine\n    return tree\n"
        )
        capsys.readouterr()
        assert main(["--params", str(mine), "--dry-run"]) == 2
        assert "lies in the session" in capsys.readouterr().err
    finally:
        sys.modules.pop("ppo_classic", None)
        sys.modules.update(before)
