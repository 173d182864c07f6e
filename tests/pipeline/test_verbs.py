"""Verbs: each is a name for what flags say, or starts a tool; all are described once."""

import argparse
import importlib
import json
import subprocess

import pytest

from digideep.main import main
from digideep.pipeline.arguments import Arguments, make_parser, parse_arguments
from digideep.pipeline.tools import TOOLS
from digideep.pipeline.verbs import VERBS
from digideep.post.completion import whole_parser
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, tiny


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["train", CLASSIC, "--set", "lr=1e-3", "seed=3"],
         ["--params", CLASSIC, "--cpanel", '{"lr": 0.001, "seed": 3}']),
        (["train", CLASSIC, "--set", "model_name=Acrobot-v1", "--set", "/runner/save_int=7"],
         ["--params", CLASSIC, "--cpanel", '{"model_name": "Acrobot-v1"}', "--repeal", '{"/runner/save_int": 7}']),
        (["train", CLASSIC, "--set", "total_frames=1e6", "hidden_sizes=[8, 8]", "anneal_lr=false", "seed=1_000"],
         ["--params", CLASSIC, "--cpanel",
          '{"total_frames": 1000000, "hidden_sizes": [8, 8], "anneal_lr": false, "seed": 1000}']),
        (["resume", "s", "--total-frames", "7"], ["--resume", "s", "--total-frames", "7"]),
        (["play", "s", "--episodes", "3"], ["--play", "--load-checkpoint", "s", "--episodes", "3"]),
        (["evaluate", "s"], ["--play", "--load-checkpoint", "s", "--episodes", "100", "--render", "none"]),
        (["verify", CLASSIC], ["--params", CLASSIC, "--verify-resume"]),
        (["verify", CLASSIC, "--epochs", "6"], ["--params", CLASSIC, "--verify-resume", "6"]),
    ],
)  # fmt: skip
def test_a_verb_stands_for_flags(words, flags):
    assert parse_arguments(words) == parse_arguments(flags)


def test_a_value_that_is_no_json_is_a_word():
    assert parse_arguments(["train", CLASSIC, "--set", "model_name=Ant-v5=x", "note=", "half=0.5e1"]).cpanel == {
        "model_name": "Ant-v5=x", "note": "", "half": 5.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", CLASSIC], "'trian' is no verb. Did you mean 'train'?"),
        (["play", "s", "--tensorboard"], "unknown argument '--tensorboard'"),
        (["train", CLASSIC, "--set", "lr"], "'lr' is no KEY=VALUE. Expected one such as seed=1"),
        (["train", CLASSIC, "--set", "sizes=[1,"], "'[1,' of 'sizes' is no JSON"),
        (["train", CLASSIC, "--set", "lr=1", "lr=2"], "--set gives 'lr' a second value"),
        (["train", CLASSIC, "--set", "lr=1", "--cpanel", '{"lr": 2}'], "--set gives 'lr' a second value"),
        (["resume", "s", "--set", "lr=1"], "takes paths of its tree, such as /agents/agent/lr"),
        (["resume", "s", "--total-frames", "9", "--set", "/runner/n_epochs=2"], "both say how long the run is"),
        (["train", CLASSIC, "--total-frames", "9", "--set", "number_epochs=2"], "both say how long the run is"),
        (["--play", "--load-checkpoint", "s", "--total-frames", "9"], "--total-frames says how long a run is"),
        (["train", CLASSIC, "--device", "cuda:x"], "'cuda:x' is no device. Expected auto, cpu, cuda, cuda:1 or mps"),
        (["train", CLASSIC, "--cpanel", "@nowhere.json"], "nowhere.json cannot be read: No such file"),
    ],
)
def test_mistakes_are_said_in_one_line(words, message):
    with pytest.raises(UsageError) as refusal:
        parse_arguments(words)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_may_hold_the_panel_s_changes(tmp_path):
    (tmp_path / "best.json").write_text('{"lr": 0.01}')
    assert parse_arguments(["train", CLASSIC, "--cpanel", f"@{tmp_path}/best.json"]).cpanel == {"lr": 0.01}


def test_a_session_here_is_found_by_its_name_and_may_become_longer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", CLASSIC, "--cpanel", tiny(), "--session-name", "mine"]) == 0
    session = tmp_path / "digideep_sessions/mine"
    out = capsys.readouterr().out
    assert "plan: 3 epochs of 2 cycles of 2 x 32 frames: 384 frames; a memory of 64 transitions" in out
    assert "agent 'agent' has 9,155 parameters: actor 4,480, head 130, critic 4,545" in out
    assert "  resume   digideep resume mine --total-frames N" in out
    assert main(["resume", "mine"]) == 3
    assert main(["resume", "mine", "--total-frames", "500", "--quiet"]) == 0
    assert Loader(session).varlog.last("frame") == 512, "four epochs of 128 frames"
    assert json.loads((session / "repeal.json").read_text())[0]["repeal"] == {"/runner/n_epochs": 4}
    assert main(["evaluate", "mine/checkpoints/checkpoint-2", "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"] == "checkpoint-2"
    assert main(["sessions", "--json"]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["done"]


@pytest.mark.parametrize("name", [*VERBS, *TOOLS])
def test_each_verb_has_examples_in_its_help_that_can_be_read(name, capsys):
    if name in VERBS:
        parser = make_parser(name)
    else:
        parser = importlib.import_module(TOOLS[name][0]).make_parser()
    text = parser.format_help()
    assert text.startswith(f"usage: digideep {name}")
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("digideep ")]
    found = text[text.index("examples:") :]
    assert f"digideep {name}" in found
    for example in examples if name in VERBS else ():
        words = example.partition(" # ")[0].split()[1:]
        assert isinstance(parse_arguments(words), Arguments), example


def test_one_parser_knows_all_that_a_shell_may_complete():
    whole = whole_parser()
    (verbs,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    assert list(verbs.choices) == [*VERBS, *TOOLS]
    assert "--total-frames" in verbs.choices["train"]._option_string_actions
    assert "--title" in verbs.choices["report"]._option_string_actions
    assert "--params" in whole._option_string_actions


def test_bash_completes_verbs_and_their_flags(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion.sh").write_text(capsys.readouterr().out)
    script = """source completion.sh; function=$(complete -p digideep | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=(digideep tr); COMP_CWORD=1; $function; echo "${COMPREPLY[@]}"
COMP_WORDS=(digideep resume --sch); COMP_CWORD=2; $function; echo "${COMPREPLY[@]}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["train", "--schedules"]
