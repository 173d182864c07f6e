"""The documents tell the truth: their code runs, their commands are understood, their tables are those of the code."""

import argparse
import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from digideep.main import main
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.tree import override_tree
from digideep.pipeline.arguments import parse_arguments
from digideep.pipeline.tools import TOOLS
from digideep.utility.errors import UsageError
from params import shared
from tests.support.documents import DOCS, PAGES, blocks, foreign_commands, inline_commands, own_commands, prose, table
from tests.support.helpers import ROOT, tiny

METHODS = {
    "ppo": ["ppo_classic", "ppo_mujoco", "ppo_dmc", "ppo_atari", "ppo_mpe"],
    "a2c": ["a2c_classic", "a2c_mujoco"],
    "pqn": ["pqn_classic", "pqn_atari"],
    "sac": [
        "sac_classic",
        "sac_mujoco",
        "sac_dmc",
        "sac_fetch",
        "sac_drq",
        "redq_mujoco",
        "droq_mujoco",
        "simba_mujoco",
    ],
    "tqc": ["tqc_classic", "tqc_mujoco"],
    "crossq": ["crossq_classic", "crossq_mujoco"],
    "sac_discrete": ["sac_discrete_classic"],
    "sacv1": ["sacv1_classic"],
    "td3": ["td3_mujoco", "td3_bc"],
    "ddpg": ["ddpg_classic"],
    "drqv2": ["ddpg_drqv2"],
    "dqn": ["dqn_classic", "dqn_atari", "dqn_drq"],
    "qr_dqn": ["qr_dqn_classic", "qr_dqn_atari"],
}
PANELS = {name: load_params(f"params.{name}").cpanel for names in METHODS.values() for name in names}


def each(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.relative_to(ROOT).as_posix())


def code_of(page):
    """The blocks of Python that run here."""
    return [block for block in blocks(page) if block.language == "python" and not block.marker]


def commands_on(page):
    """All commands of Digideep, executed or not: the module that is started, and its arguments."""
    texts = [block.text for block in blocks(page) if block.language == "sh"] + inline_commands(page)
    return [command for text in texts for command in own_commands(text)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A directory with the files that pages name, and the session NAME: what their code finds."""
    here = tmp_path_factory.mktemp("project")
    for page in PAGES:
        for block in blocks(page):
            if block.marker.startswith("file: "):
                (here / block.marker[6:]).write_text(block.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert main(["--params", "params.ppo_classic", "--cpanel", tiny(), "--session-name", "NAME"]) == 0
    return here


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(project))
    return project


# ------------------------------------------------------------------ code and commands


@each([page for page in PAGES if blocks(page)])
def test_each_block_is_executed_or_says_why_not(page):
    for block in blocks(page):
        kind, _, rest = block.marker.partition(": ")
        assert block.language in ("python", "sh", "text"), f"{block.place}: '{block.language}' is no language of blocks"
        if block.marker.startswith("executed by "):
            assert (ROOT / block.marker[12:]).is_file(), f"{block.place}: {block.marker}"
        elif kind == "not executed":
            assert rest, block.place
        elif block.language == "sh":
            assert not foreign_commands(block.text), f"{block.place} has commands that nobody tries: mark it"
        else:
            assert not block.marker or kind == "file", f"{block.place}: {block.marker}"


@each([page for page in PAGES if code_of(page)])
def test_code_of_the_pages_runs(page, inside, capfd):
    scope = {"__name__": "page"}
    for block in code_of(page):
        text = re.sub(r"total_frames=[\d_]+", "total_frames=256", block.text)
        exec(compile(text, block.place, "exec"), scope)


class _Parsed(Exception):
    """Says that a command line was read."""


def understand(module, argv):
    """Let a command read its arguments, as far as its parser goes. Raises: whatever it says of them."""
    if module == "digideep" and argv and argv[0] in TOOLS:
        module, argv = TOOLS[argv[0]][0], argv[1:]
    if module == "digideep":
        check_values(parse_arguments(argv))
        return
    with pytest.MonkeyPatch.context() as patch:
        read = argparse.ArgumentParser.parse_args

        def stop(*args):
            raise _Parsed(read(*args))

        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(_Parsed):
            importlib.import_module(module).main(argv)


def check_values(args):
    """See that a recipe has the keys that a command changes; any of them, where the command names a session."""
    own = [re.sub(r"^params/(\w+)\.py$", r"params.\1", args.params)] if args.params else []
    refusals = []
    for recipe in own or [f"params.{name}" for name in PANELS]:
        module = load_params(recipe)
        try:
            override_tree(generate(module, override_panel(module.cpanel, args.cpanel)), args.repeal)
            return
        except UsageError as err:
            refusals.append(err)
    raise refusals[0]


@each([page for page in PAGES if commands_on(page)])
def test_commands_are_understood(page, inside):
    for module, *argv in commands_on(page):
        try:
            understand(module, argv)
        except (UsageError, SystemExit) as err:
            if argv != ["--help"]:
                pytest.fail(f"{page.name}: {module} {' '.join(argv)}: {err}", pytrace=False)


def shrunk(argv):
    """The same command for a run of a second."""
    verb, recipe, *words = argv
    for flag, fewer in (("--total-frames", "32"), ("--episodes", "1")):
        if flag in words:
            words[words.index(flag) + 1] = fewer
    if verb != "train":
        return [verb, recipe, *words]
    given = {word.partition("=")[0] for word in words}
    small = {"n_steps": 8, "num_workers": 2, "n_update": 1, "num_mini_batches": 2, "warm_start": 4, "batch_size": 4}
    small |= {"total_frames": 32, "epoch_frames": 16, "test_activate": "false", "compile": "off"}
    given |= {"total_frames"} & {word[2:].replace("-", "_") for word in words}
    small = {key: value for key, value in small.items() if key in load_params(recipe).cpanel and key not in given}
    return [verb, recipe, *words, "--set", *(f"{key}={value}" for key, value in small.items())]


def commands_of(*pages):
    for page in pages:
        for block in blocks(DOCS / f"{page}.md"):
            if block.language == "sh" and not block.marker:
                yield from (argv for module, *argv in own_commands(block.text) if module == "digideep")


def test_the_first_hour_can_be_spent(inside, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    done = set()
    for argv in commands_of("first_hour"):
        if argv[0] in {"train", "resume", "play", "evaluate", "sessions"} - done:
            code = main(argv if argv[0] == "sessions" else shrunk(argv))
            assert code == (3 if argv[0] == "resume" else 0), (argv, capfd.readouterr())
            done.add(argv[0])
            if argv[0] == "train":
                assert main(shrunk([*argv[:3], "stopped"])) == 0
    assert len(done) == 5


def test_the_files_of_the_pages_train(inside, capfd):
    commands = [argv for argv in commands_of("how_to", "environments", "parameters", "extending") if argv[0] == "train"]
    own = [argv for argv in commands if (inside / argv[1]).is_file() or "tell_progress=true" in argv]  # farther.py
    assert {argv[1] for argv in own} >= {
        "touch.py",
        "my_task.py",
        "own_runner.py",
        "sent.py",
        "reinforce.py",
        "clipped.py",
    }
    for argv in own:
        assert main(shrunk(argv)) == 0, (argv, capfd.readouterr())
    assert "update/agent/policy_loss" in (inside / "figures.csv").read_text()


@each(PAGES)
def test_links_and_files_exist(page):
    text = prose(page)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for path in re.findall(r"`((?:params|digideep|docs|benchmarks|tests)/[\w/]+\.\w+)`", text):
        assert (ROOT / path).exists(), path


# ------------------------------------------------------------------ tables


def holds(text, pieces):
    """True if the pieces stand in the text, in this order."""
    place = 0
    for piece in pieces:
        place = text.find(piece, place) + len(piece)
        if place < len(piece):
            return False
    return True


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_code():
    texts = []
    for path in (ROOT / "digideep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    messages = table(DOCS / "troubleshooting.md", "Messages")
    assert len(messages) > 15
    for message in messages:
        assert any(holds(text, message.split("…")) for text in texts), message


def test_the_shared_keys_are_those_of_every_panel_with_their_defaults():
    documented = table(DOCS / "parameters.md", "Keys that every control panel has")
    session, common = shared.session_panel(), set.intersection(*map(set, PANELS.values()))
    assert set(session) <= set(documented) <= set(session) | common
    for key, (default, *_) in documented.items():
        assert default == (json.dumps(session[key]) if key in session else ""), key


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_page_has_the_keys_of_its_panels_with_their_defaults(method):
    elsewhere = {
        *table(DOCS / "parameters.md", "Keys that every control panel has"),
        *table(DOCS / "atari.md", "What the agent sees and plays"),
        *table(DOCS / "pixels.md", "Keys"),
    }
    first, *_ = METHODS[method]
    documented = table(DOCS / f"methods/{method}.md", "Panel keys")
    expected = {key for recipe in METHODS[method] for key in PANELS[recipe]}
    assert expected - elsewhere <= set(documented) <= expected
    for key, (default, *_) in documented.items():
        assert default == (json.dumps(PANELS[first][key]) if key in PANELS[first] else ""), key


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_page_has_the_metrics_that_are_logged(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = METHODS[method][0]
    small = {"number_epochs": 1, "epoch_size": 4, "num_workers": 2, "n_steps": 4, "warm_start": 4, "batch_size": 4}
    is_numbered = PANELS[recipe]["model_name"] == "CartPole-v1"
    small |= {"model_name": "CartPole-v1" if is_numbered else "Pendulum-v1", "prioritized": True}
    if method == "drqv2":
        small |= {"model_name": "dm_control/cartpole-balance-v0", "screen_size": 16, "memory_size": 400}
    small |= {"hidden_sizes": [8], "compile": "off", "test_activate": False, "num_mini_batches": 2}
    panel = {key: value for key, value in small.items() if key in PANELS[recipe]}
    assert main(["--params", f"params.{recipe}", "--cpanel", json.dumps(panel), "--session-name", "s"]) == 0
    line = json.loads(Path("digideep_sessions/s/varlog.json").read_text().splitlines()[-1])
    logged = {key.rpartition("/")[2] for key in line["data"] if key.startswith("/update/agent/")}
    assert set(table(DOCS / f"methods/{method}.md", "Metrics")) == logged


# ------------------------------------------------------------------ the methods in extending.md


@pytest.mark.usefixtures("forking_verify")
def test_the_method_in_extending_trains_and_resumes_exactly(inside, capfd):
    assert main(["--params", "reinforce.py", "--cpanel", tiny(epoch_size=10), "--verify-resume", "2"]) == 0
    assert "resume is exact" in capfd.readouterr().out


def test_the_variant_in_extending_trains(inside):
    panel = {"number_epochs": 1, "epoch_size": 20, "warm_start": 8, "batch_size": 8, "hidden_sizes": [8],
             "memory_size_in_chunks": 50, "test_activate": False, "least_return": 7.5}  # fmt: skip
    assert main(["--params", "clipped.py", "--cpanel", json.dumps(panel), "--session-name", "clipped"]) == 0
    (line,) = Path("digideep_sessions/clipped/varlog.json").read_text().splitlines()
    losses = json.loads(line)["data"]["/update/agent/critic_loss"]
    assert losses["min"] > 40, "2 critics x 7.5^2 / 2 = 56.25, had both said 0"
