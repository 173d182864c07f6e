"""Every mistake ends with one line that names the value and the remedy, exit code 2 (3), and no new files."""

import json
import os
from pathlib import Path

import filelock
import pytest

from digideep.main import main
from tests.support.helpers import CLASSIC, ROOT, tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A session that has run to its end."""
    base = tmp_path_factory.mktemp("sessions")
    argv = [
        "--params",
        CLASSIC,
        "--cpanel",
        tiny(number_epochs=1),
        "--session-path",
        str(base),
        "--session-name",
        "done",
    ]
    assert main([*argv, "--no-monitor-cpu", "--no-monitor-gpu", "--log-level", "3"]) == 0
    return base / "done"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty directory: whatever a refused run creates would show."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(path: Path) -> set:
    return set(path.rglob("*"))


def refuse(capsys, argv, *messages, code=2, watch=None):
    watched = [Path.cwd(), *([watch] if watch else [])]
    before = [files_in(path) for path in watched]
    assert main([str(argument) for argument in argv]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    for message in messages:
        assert message in lines[0]
    assert [files_in(path) for path in watched] == before


def params_file(text: str, name: str = "mine.py") -> str:
    (Path.cwd() / name).write_text(text)
    return name


TRAIN = ["--params", CLASSIC]


@pytest.mark.parametrize(
    ("argv", "messages"),
    [
        ([], ["Nothing to run: give --params FILE"]),
        (["--parms", "x"], ["unknown argument '--parms'. Did you mean '--params'?"]),
        (["--params"], ["--params", "expected one argument"]),
        (["--params", "nowhere.py"], ["--params nowhere.py is not there"]),
        (["--params", "no.such.module"], ["--params no.such.module cannot be imported"]),
        (["--params", "json"], ["--params json must define a dictionary 'cpanel'"]),
        ([*TRAIN, "--cpanel", "{'seed': 1}"], ["--cpanel", "is no JSON", "Expected an object such as"]),
        ([*TRAIN, "--cpanel", '{"recurrent": True}'], ["is no JSON", "JSON writes true, false and null"]),
        ([*TRAIN, "--cpanel", "[1]"], ["'[1]' is no JSON object"]),
        ([*TRAIN, "--cpanel", '{"sede": 1}'], ["unknown key 'sede'. Did you mean 'seed'?"]),
        ([*TRAIN, "--cpanel", '{"tau": 0.9}'], ["unknown key 'tau'. Here it is called 'gae_lambda'."]),
        ([*TRAIN, "--cpanel", '{"seed": "1"}'], ["--cpanel 'seed' must be an integer, got '1'"]),
        ([*TRAIN, "--cpanel", '{"num_workers": 2.5}'], ["'num_workers' must be an integer, got 2.5"]),
        ([*TRAIN, "--cpanel", '{"normalize_advantages": 1}'], ["must be true or false, got 1"]),
        ([*TRAIN, "--cpanel", '{"seed": -1}'], ["seed must be an integer of at least 0, got -1"]),
        ([*TRAIN, "--cpanel", '{"gamma": 1.01}'], ["gamma must be a number in [0, 1], got 1.01"]),
        ([*TRAIN, "--cpanel", '{"num_workers": 0}'], ["num_workers must be an integer of at least 1, got 0"]),
        ([*TRAIN, "--cpanel", '{"n_steps": 0}'], ["must be an integer of at least 1, got 0"]),
        ([*TRAIN, "--cpanel", '{"number_epochs": 0}'], ["must be an integer of at least 1, got 0"]),
        ([*TRAIN, "--cpanel", '{"lr": -1e-3}'], ["start must be a finite number of at least 0, got -0.001"]),
        ([*TRAIN, "--cpanel", '{"clip_param": 1.5}'], ["clip_param must be in (0, 1) at the start, got 1.5"]),
        ([*TRAIN, "--cpanel", '{"compile": "maybe"}'], ["compile must be one of auto, on, off, got 'maybe'"]),
        ([*TRAIN, "--cpanel", '{"hidden_sizes": [-3]}'], ["hidden_sizes must be a list of positive integers"]),
        ([*TRAIN, "--cpanel", '{"num_processes": 99}'], ["num_processes must be at most num_workers=8, got 99"]),
        ([*TRAIN, "--cpanel", '{"model_name": "CartPole-v7"}'], ["'CartPole-v7'. Did you mean 'CartPole-v1'?"]),
        ([*TRAIN, "--cpanel", '{"env_kwargs": {"colour": 1}}'], ["'CartPole-v1' cannot be made", "colour"]),
        ([*TRAIN, "--cpanel", '{"from_module": "no.such"}'], ["from_module 'no.such' cannot be imported"]),
        ([*TRAIN, "--repeal", '{"/runner/save_itn": 5}'], ["no 'save_itn' under '/runner'. Did you mean 'save_int'?"]),
        ([*TRAIN, "--repeal", '{"runner": 5}'], ["--repeal 'runner' is no path"]),
        ([*TRAIN, "--repeal", '{"/runner/save_int": "5"}'], ["'/runner/save_int' must be an integer, got '5'"]),
        ([*TRAIN, "--repeal", '{"/runner/class": "os.system"}'], ["'os.system' is no digideep component"]),
        ([*TRAIN, "--repeal", '{"/memory/class": "digideep.agent.ppo.PPO"}'], ["PPO has no parameter"]),
        ([*TRAIN, "--repeal", '{"/explorer/train/n_steps": 5}'], ["n_steps is 5, but /memory/chunk_sample_len 128"]),
        ([*TRAIN, "--play", "--custom"], ["--play and --custom do not go together"]),
        ([*TRAIN, "--create-session-only", "--dry-run"], ["--create-session-only and --dry-run do not go together"]),
        ([*TRAIN, "--load-checkpoint", "x", "--play"], ["--load-checkpoint and --params do not go together"]),
        (["--resume", "x", "--play"], ["--resume and --play do not go together"]),
        (["--resume", "x", "--load-checkpoint", "y"], ["give one of them"]),
        (["--resume", *TRAIN], ["--resume and --params do not go together"]),
        (["--resume"], ["--resume needs a session"]),
        (["--load-checkpoint", "x"], ["--load-checkpoint alone does nothing"]),
        ([*TRAIN, "--episodes", "3"], ["--episodes goes with --play only"]),
        ([*TRAIN, "--play", "--episodes", "0"], ["'0' is no positive integer"]),
        ([*TRAIN, "--play", "--episodes", "²"], ["'²' is no positive integer"]),
        ([*TRAIN, "--visdom-port", "99999"], ["'99999' is no port"]),
        ([*TRAIN, "--log-level", "7"], ["--log-level", "7"]),
        ([*TRAIN, "--profiler-level", "-2"], ["--profiler-level must be -1 or more, got -2"]),
        ([*TRAIN, "--device", "cuda"], ["--device cuda: torch finds no CUDA device here"]),
        ([*TRAIN, "--device", "tpu"], ["--device", "'tpu'"]),
        ([*TRAIN, "--save-modules", "no_such_package"], ["--save-modules no_such_package is no Python package"]),
        ([*TRAIN, "--session-name", "../x"], ["--session-name: '../x' must be a plain directory name"]),
        ([*TRAIN, "--custom"], ["--custom needs a Runner with a custom() of its own"]),
        ([*TRAIN, "--verify-resume", "1"], ["--verify-resume needs at least 2 epochs"]),
        ([*TRAIN, "--verify-resume", "--dry-run"], ["--verify-resume and --dry-run do not go together"]),
        ([*TRAIN, "--cpanel", '{"seed": 1, "seed": 2}'], ["the key 'seed' is given twice"]),
        ([*TRAIN, "--cpanel", '{"env_kwargs": {"a": 1, "a": 2}}'], ["the key 'a' is given twice"]),
        ([*TRAIN, "--cpanel", '{"gamma": NaN}'], ["NaN is no number of JSON"]),
        ([*TRAIN, "--repeal", '{"/agents/agent/gamma": -Infinity}'], ["-Infinity is no number of JSON"]),
        ([*TRAIN, "--cpanel", '{"lr": 1e999}'], ["1e999 is no number of JSON"]),
        ([*TRAIN, "--cpanel", '{"info_keys": ' + "[" * 60_000 + "]" * 60_000 + "}"], ["is nested too deeply"]),
        ([*TRAIN, "--repeal", '{"/env/kwargs": {"a": ' + "[" * 300 + "]" * 300 + "}}"], ["more than 40 levels deep"]),
        ([*TRAIN, "--cpanel", '{"cell": "\\ud800"}'], ["--cpanel/cell holds '\\ud800', which is no text"]),
        ([*TRAIN, "--cpanel", '{"recurrent": null}'], ["'recurrent' must be true or false, got null"]),
        ([*TRAIN, "--cpanel", '{"cell": null}'], ["'cell' must be a string, got null"]),
        ([*TRAIN, "--cpanel", '{"info_keys": null}'], ["'info_keys' must be a list, got null"]),
        ([*TRAIN, "--cpanel", '{"from_params": 5}'], ["EnvironmentSpec: from_params must be an object or null, got 5"]),
        ([*TRAIN, "--cpanel", '{"num_threads": 1180591620717411303424}'], ["must be an integer of 64 bits"]),
        ([*TRAIN, "--cpanel", '{"num_threads": 1000000000}'], ["num_threads must be an integer in [1, 1024]"]),
        ([*TRAIN, "--cpanel", '{"hidden_sizes": [999999999, 999999999]}'], ["would need", "Lower the network's sizes"]),
        ([*TRAIN, "--cpanel", '{"recurrent": true, "core_size": 10000000}'], ["weights would need"]),
        ([*TRAIN, "--cpanel", '{"num_workers": 1000000000}'], ["num_workers must be an integer in [1, 65536]"]),
        ([*TRAIN, "--cpanel", '{"value_loss_coef": 1e308}'], ["must be a finite number, at most 3.4e+38"]),
        ([*TRAIN, "--repeal", '{"/agents/agent/n_update": -7}'], ["must be an integer of at least 1, got -7"]),
        ([*TRAIN, "--repeal", '{"/explorer/test/render_mode": "x"}'], ["must be null or one of human, rgb_array"]),
        ([*TRAIN, "--session-name", ""], ["--session-name: it is empty"]),
        ([*TRAIN, "--session-name", "x" * 300], ["is too long: a name has at most 200 bytes"]),
        ([*TRAIN, "--session-name", "a\x00b"], ["'a\\x00b' holds characters that cannot be printed"]),
        ([*TRAIN, "--session-name", "a\nb"], ["'a\\nb' holds characters that cannot be printed"]),
        ([*TRAIN, "--session-name", "\x1b[31mred"], ["holds characters that cannot be printed"]),
        ([*TRAIN, "--session-name", " a"], ["' a' must be a plain directory name"]),
        ([*TRAIN, "--session-path", "/proc/x"], ["/proc/x", "cannot be made", "Choose another --session-path"]),
        ([*TRAIN, "--session-path", "x" * 5000], ["is too long"]),
        (["--resume", "x" * 5000], ["is too long"]),
        (["--resume", "a\x00b"], ["holds characters that cannot be printed"]),
        (["--play", "--load-checkpoint", "x" * 300], ["is too long"]),
        ([*TRAIN, "--play", "--episodes", "9" * 5000], ["is no positive integer"]),
        ([*TRAIN, "--play", "--render", "x" * 5000], ["invalid choice", "[...]"]),
        (["--resume", "nowhere"], ["nowhere is no directory. Give a session"]),
        (["--resume", "."], ["is no session: it has no directory 'checkpoints'"]),
    ],
)  # fmt: skip
def test_a_bad_command_line_is_refused(capsys, argv, messages):
    refuse(capsys, argv, *messages)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("cpanel = {}", ["must define a dictionary 'cpanel' and a function 'gen_params(cpanel)'"]),
        ("import nothing_of_this_name", ["--params mine.py cannot be imported", "nothing_of_this_name"]),
        ("1 / 0", ["--params mine.py fails when it is imported: ZeroDivisionError"]),
        ("cpanel = {}\ndef gen_params(cpanel): raise OSError('a\\nb')", ["gen_params of mine fails: OSError: a b"]),
        ("cpanel = {}\ndef gen_params(cpanel): return cpanel['lr']", ["gen_params of mine", "KeyError: 'lr'"]),
        ("cpanel = {}\ndef gen_params(cpanel): return {}", ["The parameter tree has no 'runner'"]),
        ("cpanel = {}\ndef gen_params(cpanel): return None", ["parameter tree must be a dictionary of", "got null"]),
        ("cpanel = {}\ndef gen_params(cpanel): return [1]", ["parameter tree must be a dictionary of", "got [1]"]),
        ("cpanel = {1: 2}\ndef gen_params(cpanel): return {}", ["cpanel has the key 1: keys must be strings"]),
        ("cpanel = {}\ndef gen_params(cpanel): return {'runner': {1, 2}}", ["/runner is {1, 2}: expected numbers"]),
        (
            "from digideep.agent.ppo import PPO\nfrom digideep.parameters.component import describe\ncpanel = {}\n"
            "def gen_params(cpanel): return describe(PPO, gama=0.9)",
            ["PPO has no parameter 'gama'. Did you mean 'gamma'?"],
        ),
        (
            "from digideep.agent.ppo import PPO\nfrom digideep.parameters.component import describe\ncpanel = {}\n"
            "def gen_params(cpanel): return describe(PPO, gamma=0.9)",
            ["PPO needs the parameter 'n_update', which is not given"],
        ),
    ],
)
def test_a_bad_parameter_file_is_refused(capsys, monkeypatch, text, messages):
    monkeypatch.delitem(os.sys.modules, "mine", raising=False)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    refuse(capsys, ["--params", params_file(text)], *messages)


def test_a_parameter_file_that_hides_another_module_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    refuse(capsys, ["--params", params_file("", "json.py")], "has the name of another module", "Rename the file")


def test_a_finished_session_is_not_resumed(capsys, finished):
    refuse(capsys, ["--resume", finished], "has finished. Play it with", code=3, watch=finished)


def test_a_session_in_use_is_not_resumed(capsys, finished):
    with filelock.FileLock(finished / "running.lock"):
        refuse(capsys, ["--resume", finished], "is in use by a running process", watch=finished)


def test_a_session_name_is_not_used_twice(capsys, finished):
    argv = [*TRAIN, "--session-path", finished.parent, "--session-name", "done"]
    refuse(capsys, argv, "exists already. Choose another --session-name", watch=finished)


def test_a_directory_that_cannot_be_written_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    refuse(capsys, [*TRAIN, "--session-path", "sub/sessions"], "cannot be written. Choose another --session-path")


def test_a_file_in_the_place_of_the_session_path_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    refuse(capsys, [*TRAIN, "--session-path", "file/sessions"], "is a file", "Choose another --session-path")


def test_a_session_that_cannot_be_written_is_not_resumed(capsys, finished, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refuse(capsys, ["--resume", finished], "cannot be written. Resume needs write permission", watch=finished)


def test_spaces_that_do_not_match_the_checkpoint_are_refused(capsys, finished):
    argv = ["--play", "--load-checkpoint", finished, "--repeal", json.dumps({"/env/name": "Acrobot-v1"})]
    refuse(capsys, argv, "The spaces of Acrobot-v1 are not those of the checkpoint", watch=finished)


def test_networks_that_do_not_match_the_checkpoint_are_refused(capsys, finished):
    argv = [
        "--play",
        "--load-checkpoint",
        finished,
        "--repeal",
        json.dumps({"/agents/agent/policy/hidden_sizes": [9, 9]}),
    ]
    refuse(capsys, argv, "does not fit the parameters", watch=finished)


def test_a_mode_of_rendering_that_does_not_exist_is_refused(capsys, finished):
    argv = ["--params", ROOT / "params/ppo_classic.py", "--play", "--render", "human"]
    argv += ["--cpanel", json.dumps({"model_name": "ConstantReward-v0", "from_module": "tests.support.environments"})]
    refuse(capsys, argv, "ConstantReward-v0 cannot render 'human'", "Use --render none")
