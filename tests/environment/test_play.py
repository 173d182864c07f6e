"""`python -m digideep.environment.play`: lists, runs, films, checks."""

import json
import os
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from digideep.environment import play
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.tools.check import report_abilities
from digideep.environment.tools.recording import Recording
from tests.support.helpers import ROOT


def test_ids_are_listed_by_patterns_as_digideep_did_it(capsys):
    pattern = "CartPole|DMBenchCheetah|dm_control/cheetah|FetchReach-|pettingzoo/sisl/m"
    assert play.main(["--list-include", pattern, "--list-exclude", ".*-v[123]"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        "CartPole-v0",
        "DMBenchCheetahRun-v0",
        "FetchReach-v4",
        "dm_control/cheetah-run-v0",
        "pettingzoo/sisl/multiwalker_v9",
    ]
    assert play.main(["--list-include", "mpe2/simple_t|tests/r", "--module", "tests.support.parallel"]) == 0
    assert json.loads(capsys.readouterr().out) == ["mpe2/simple_tag_v3", "tests/roster"]


def test_a_list_needs_no_optional_package_and_no_display():
    code = """
import sys
for name in ("shimmy", "gymnasium_robotics", "Box2D", "ale_py", "mpe2"):
    sys.modules[name] = None
from digideep.environment.play import main
raise SystemExit(main(["--list-include"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={"PATH": ""})
    assert done.returncode == 0, done.stderr
    assert "CartPole-v1" in json.loads(done.stdout)
    assert "dm_control is not installed: pip install 'digideep[dmc]'" in done.stderr
    assert "PettingZoo is not installed: pip install 'digideep[multiagent]'" in done.stderr


def test_episodes_are_run_with_random_actions_and_repeat_under_their_seed(capsys):
    argv = [
        "--model",
        "Noise-v0",
        "--module",
        "tests/support/environments.py",
        "--runs",
        "2",
        "--render",
        "none",
        "--seed",
        "4",
    ]
    outputs = []
    for _ in range(2):
        assert play.main(argv) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert outputs[0].splitlines()[1].startswith("run 2/2: return ")
    assert play.main([*argv, "--n-step", "3"]) == 0
    assert "3 steps, stopped at --n-step 3" in capsys.readouterr().out
    assert play.main([*argv, "--no-action"]) == 0
    assert "return 0.000, 0 steps, no step was taken" in capsys.readouterr().out


def test_each_run_has_a_seed_of_its_own(capsys):
    argv = [
        "--model",
        "Lottery-v0",
        "--module",
        "tests.support.scripted",
        "--runs",
        "3",
        "--render",
        "none",
        "--seed",
        "4",
    ]
    assert play.main(argv) == 0
    prizes = [np.random.Generator(np.random.PCG64(seed)).random() for seed in (4, 5, 6)]
    assert re.findall(r"return ([\d.]+)", capsys.readouterr().out) == [f"{prize:.3f}" for prize in prizes]


def test_a_film_is_recorded(tmp_path, capsys):
    argv = [
        "--model",
        "tests.support.rendering:Picture-v0",
        "--runs",
        "1",
        "--render",
        "video",
        "--video-dir",
        str(tmp_path),
    ]
    for number in (0, 1):  # a second film leaves the first one alone
        assert play.main(argv) == 0
        place = tmp_path / f"tests-support-rendering-Picture-v0-{number}"
        assert [path.suffix for path in place.iterdir()] == [".mp4"]
        assert f"videos: {place}" in capsys.readouterr().out


def test_a_sound_environment_passes_its_check(capsys):
    assert play.main(["--model", "CartPole-v1", "--check"]) == 0
    *points, conclusion = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in points] == ["ok"] * 6
    assert conclusion == "Exact resume will hold."


def test_an_action_without_dimensions_is_an_array_also_when_it_is_re_lived(capsys):
    argv = ["--model", "Dial-v0", "--module", "tests.support.environments"]
    assert play.main([*argv, "--check"]) == 0
    assert capsys.readouterr().out.endswith("Exact resume will hold.\n")


def test_a_check_finds_what_exact_resume_would_fail_at(capsys):
    assert play.main(["--model", "Forgetful-v0", "--module", "tests.support.environments", "--check"]) == 1
    output = capsys.readouterr().out
    assert "FAILED seeding" in output
    assert "FAILED re-living elsewhere" in output
    assert output.splitlines()[-1] == "Exact resume will NOT hold: two resets with the seed 0 begin differently."


@pytest.mark.parametrize("name", ["tests/turnstile", "mpe2/simple_tag_v3"])
def test_a_game_of_several_players_is_checked_and_run_each_player_on_its_own(name, capsys):
    argv = ["--model", name, "--module", "tests.support.parallel"]
    assert play.main([*argv, "--check"]) == 0
    first, *points, conclusion = capsys.readouterr().out.splitlines()
    assert first.split()[1:3] == ["PettingZoo's", "test"]
    assert not any(line.startswith("FAILED") for line in (first, *points))
    assert conclusion == "Exact resume will hold."
    assert play.main([*argv, "--runs", "1", "--render", "none"]) == 0
    names = {"tests/turnstile": "first", "mpe2/simple_tag_v3": "adversary_0"}
    assert re.match(rf"run 1/1: return \S+ \({names[name]} \S+, ", capsys.readouterr().out)


def test_random_players_keep_to_their_masks_wherever_they_are_and_pettingzoo_is_asked_where_it_can_be(capsys):
    argv = ["--model", "tests/turnstile", "--module", "tests.support.parallel", "--check", "--env-kwargs"]
    for place, verdict in (
        ("info", "note   PettingZoo's test    not asked"),
        ("observation", "ok     PettingZoo's test "),
    ):
        assert play.main([*argv, json.dumps({"place": place})]) == 0
        assert capsys.readouterr().out.startswith(verdict)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("tests/roster", {"is_forgetful": True}, "FAILED seeding "),
        ("tests/roster", {"leave": {}}, "no end within 20 steps and no time limit"),
    ],
)
def test_a_check_says_what_is_wrong_with_a_game_of_several_players(name, kwargs, message, capsys):
    argv = ["--model", name, "--module", "tests.support.parallel", "--n-step", "20", "--check"]
    assert play.main([*argv, "--env-kwargs", json.dumps(kwargs)]) == 1
    assert message in capsys.readouterr().out


def test_floats_outside_of_their_bounds_are_told_but_no_failure(capsys):
    argv = [
        "--model",
        "tests/turnstile",
        "--module",
        "tests.support.parallel",
        "--check",
        "--env-kwargs",
        '{"is_off": true}',
    ]
    assert play.main(argv) == 0
    message = "note   spaces and types     the observation of player second after 0 steps lies outside of its space, in"
    assert message in capsys.readouterr().out


def test_recordings_that_part_say_where():
    def recording(steps, reward=1.0, end=False):
        arrays = [{"/x": np.array([step])} for step in range(steps + 1)]
        return Recording(arrays, [reward] * steps, [(False, False)] * (steps - 1) + [(end, False)])

    whole = recording(3)
    assert whole.difference(recording(3)) is None
    assert whole.difference(recording(4)) == recording(4).difference(whole) == "one of the two episodes is longer"
    assert whole.difference(recording(3, reward=2.0)) == "the reward or the end differs at step 1"
    assert whole.difference(recording(3, end=True)) == "the reward or the end differs at step 3"
    other = recording(3)
    other.observations[2]["/x"] += 1
    assert whole.difference(other) == "observation /x differs at step 2"


@pytest.mark.parametrize(
    ("name", "module", "kwargs", "players", "expected"),
    [
        ("tests/turnstile", "tests.support.parallel", {}, {"x": ["*"]}, "yes"),
        ("tests/roster", "tests.support.parallel", {}, {"x": ["a", "c"], "y": ["b"]}, "yes"),
        ("tests/roster", "tests.support.parallel", {"is_forgetful": True}, {"x": ["a", "c"], "y": ["b"]}, "NO"),
        ("Forbidding-v0", "tests.support.senses", {}, None, "yes"),
        ("Senses-v0", "tests.support.senses", {"actions": "integers"}, None, "yes"),
        ("Leftover-v0", "tests.support.environments", {}, None, "NO"),
        ("Trouble-v0", "tests.support.environments", {"kind": "raise"}, None, "unknown"),
    ],
)
def test_a_run_says_at_its_start_whether_its_environment_repeats_itself(
    name, module, kwargs, players, expected, caplog
):
    spec = EnvironmentSpec(name=name, from_module=module, kwargs=kwargs, players=players)
    with caplog.at_level("INFO", "digideep"):
        report_abilities(spec, inspect_environment(spec), num_processes=2)
    assert f"{name}: exact resume: {expected}" in caplog.text


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("Counter-v0", "{}", "FAILED ends                 no end within 20 steps and no time limit"),
        ("Trouble-v0", '{"kind": "nan observation"}', "is not finite after 3 steps"),
        (
            "Liar-v0",
            "{}",
            "FAILED first episode        after 0 steps it gave an observation that is not what its space ",
        ),
        ("Liar-v0", "{}", "/agent: expected float64 (2,), got float64 (1,): [0.0]"),
        (
            "Odd-v0",
            '{"how": "float64"}',
            "the observation (float64[1], declared float32[1]) after 0 steps lies outside",
        ),
        (
            "Odd-v0",
            '{"how": "reset"}',
            "FAILED first episode        RuntimeError: no reset for you\nFAILED gymnasium's",
        ),
        ("Odd-v0", '{"how": "step"}', "FAILED first episode        RuntimeError: no step\n"),
        ("Odd-v0", '{"how": "step"}', "Exact resume will NOT hold: RuntimeError: no step."),
        ("Odd-v0", '{"how": "key"}', "FAILED first episode        after 0 steps it gave an observation that is"),
        ("Odd-v0", '{"how": "old"}', "FAILED first episode "),
        ("Odd-v0", '{"how": "reward"}', "a reward that is no number: expected float64 (), got float64 (1,): [1.0]"),
    ],
)
def test_a_check_says_what_is_wrong(name, kwargs, message, capsys):
    argv = [
        "--model",
        name,
        "--module",
        "tests.support.environments",
        "--env-kwargs",
        kwargs,
        "--n-step",
        "20",
        "--check",
    ]
    assert play.main(argv) == 1
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Give an environment with --model"),
        (["--model", "CartPole-v9"], r"Did you mean 'CartPole-v1'"),
        (["--model", "CartPole-v1", "--env-kwargs", "[]"], "must be an object"),
        (["--model", "CartPole-v1", "--env-kwargs", "{"], "--env-kwargs is no JSON"),
        (["--model", "CartPole-v1", "--runs", "0"], "--runs must be at least 1, got 0"),
        (
            ["--model", "Noise-v0", "--module", "tests.support.environments", "--render", "video"],
            "cannot render 'rgb_array'",
        ),
        (["--module", "no.such.module", "--list-include"], "'no.such.module' cannot be imported"),
        (["--list-include", "("], "is no regular expression"),
        (
            ["--module", "broken_raises", "--list-include"],
            "RuntimeError: this is broken (broken_raises.py, line 2). Correct",
        ),
        (["--module", "broken_syntax", "--list-include"], "fails while it is imported: SyntaxError: "),
        (
            ["--model", "Spaceless-v0", "--module", "tests.support.environments", "--check"],
            "has no observation_space. Give it one",
        ),
    ],
)
def test_mistakes_are_one_line_and_code_2(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_raises.py").write_text('\nraise RuntimeError("this is\\nbroken")\n')
    (tmp_path / "broken_syntax.py").write_text("def f(:\n")
    assert play.main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_viewer_of_dm_control_is_handed_the_task_and_random_actions(monkeypatch, capsys):
    from dm_control import viewer

    handed = []
    monkeypatch.setattr(
        viewer, "launch", lambda task, policy: handed.append((task.action_spec(), [policy(None) for _ in range(3)]))
    )
    monkeypatch.setattr(play, "require_display", lambda name: None)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert play.main(["--model", "dm_control/cheetah-run-v0", "--render", "viewer"]) == 0
    ((spec, actions),) = handed
    assert spec.shape == (6,)
    assert np.shape(actions) == (3, 6)
    assert len(np.unique(actions)) == 18
    assert play.main(["--model", "CartPole-v1", "--render", "viewer"]) == 2
    assert "is no task of dm_control" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--glfw"], ["--render", "viewer"]])
def test_glfw_without_a_display_is_refused_in_one_line_before_anything_is_imported(arguments):
    command = [sys.executable, "-m", "digideep.environment.play", "--model", "dm_control/cheetah-run-v0", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "there is no display" in line


def test_a_check_looks_at_an_episode_that_is_long_enough(capsys):
    argv = ["--model", "Quick-v0", "--module", "tests.environment.test_play", "--check"]
    assert play.main(argv) == 0
    steps = re.search(r"re-living here +(\d+) steps", capsys.readouterr().out)
    assert int(steps[1]) == 30


class Quick(gym.Env):
    """Under the seed 0 an episode is over after one step, under others after 30."""

    observation_space = gym.spaces.Box(-1, 100, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    render_mode = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.length = 1 if seed == 0 else 30
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.full(1, self.steps, np.float32), 1.0, self.steps == self.length, False, {}


if "Quick-v0" not in gym.registry:
    gym.register("Quick-v0", Quick)
