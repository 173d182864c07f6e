"""Going on with a run: by a longer plan, under other parameters, or with its weights in a new session."""

import hashlib
import json
import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint
from digideep.pipeline.continuing import space_difference
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from tests.pipeline.test_resume import last, train
from tests.support.helpers import CLASSIC, MUJOCO, ROOT, tiny

QUIET = ("--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu")
REPLAY = {"epoch_size": 10, "n_steps": 3, "num_workers": 2, "warm_start": 30, "batch_size": 8, "hidden_sizes": [8, 8],
          "memory_size_in_chunks": 200, "test_activate": False}  # fmt: skip
MIXED = str(ROOT / "tests/support/mixed_params.py")
DQN, TD3, SAC = (str(ROOT / f"params/{name}.py") for name in ("dqn_classic", "td3_mujoco", "sac_classic"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Finished runs of PPO, whose learning rate and clip range end at 0, and of DQN."""
    base = tmp_path_factory.mktemp("finished")
    assert train(base, "ppo", CLASSIC, tiny(number_epochs=2, test_activate=False)) == 0
    assert train(base, "dqn", DQN, tiny(**REPLAY, number_epochs=2, prioritized=True)) == 0
    return base


def copy(finished: Path, name: str, to: Path) -> Path:
    return Path(shutil.copytree(finished / name, to / name))


def digest(session: Path) -> str:
    """Of all files and their names, but for the lock."""
    files = sorted(path for path in session.rglob("*") if path.is_file() and path.name != "running.lock")
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


def values(session: Path, key: str) -> list[float]:
    """The mean of a metric in each epoch."""
    packs = [json.loads(text)["data"] for text in (session / "varlog.json").read_text().splitlines()]
    return [pack[key]["sum"] / pack[key]["num"] for pack in packs if key in pack]


def resume(session: Path, epochs: int | None = None, *more: str) -> int:
    plan = ["--repeal", json.dumps({"/runner/n_epochs": epochs})] if epochs else []
    return main(["--resume", str(session), *plan, "--no-monitor-cpu", "--no-monitor-gpu", *more])


@pytest.mark.parametrize(
    ("more", "rates", "said"),
    [
        ((), [2.5e-4, 1.875e-4, 1.25e-4, 0.625e-4], "stretched over the whole new plan"),
        (("--schedules", "anew"), [5e-4, 3.75e-4, 2.5e-4, 1.25e-4], "begun anew"),
    ],
)
def test_a_finished_run_goes_on_learning_and_says_how(finished, tmp_path, capsys, more, rates, said):
    session = copy(finished, "ppo", tmp_path)
    assert resume(session, 4, *more) == 0
    assert f"Plan of 4 epochs (2 done, 2 planned before); schedules {said}" in capsys.readouterr().out
    np.testing.assert_allclose(values(session, "/update/agent/lr")[2:], np.reshape(rates, (2, 2)).mean(1))
    before, after = (read_checkpoint(session / f"checkpoints/checkpoint-{n}")[0] for n in (2, 4))
    old, new = (state["agents"]["agent"]["policy"] for state in (before, after))
    assert all((old[key] != new[key]).any() for key in old)


def test_values_kept_at_0_are_refused_by_name_and_change_nothing(finished, tmp_path, capsys):
    session = copy(finished, "ppo", tmp_path)
    before = digest(session)
    assert resume(session, 4, "--schedules", "keep") == 2
    assert "lr is 0 from here to the end of the plan" in capsys.readouterr().err
    assert digest(session) == before


def test_an_unfinished_run_may_keep_its_values(tmp_path):
    assert train(tmp_path, "s", CLASSIC, tiny(number_epochs=4, test_activate=False, max_exec_iter=1)) == 75
    assert resume(tmp_path / "s", 8, "--schedules", "keep") == 75
    assert resume(tmp_path / "s") == 75
    np.testing.assert_allclose(values(tmp_path / "s", "/update/agent/lr"), [5e-4 * 0.9375, 5e-4 * 0.75, 5e-4 * 0.75])


def test_replay_methods_go_on_learning_and_log_what_is_scheduled(finished, tmp_path):
    session = copy(finished, "dqn", tmp_path)
    assert resume(session, 4) == 0
    rates = values(session, "/update/agent/lr")
    assert len(rates) == 4
    assert rates[2] > rates[3] > 0
    assert rates[2] > 0.35 * 5e-4
    epsilon = values(session, "/update/agent/epsilon")  # its duration is its own, in frames
    assert epsilon[-1] == pytest.approx(1 - 0.96 * np.mean(np.arange(186, 241, 6)) / 8000)
    assert values(session, "/update/agent/beta") == pytest.approx([0.4] * 4)


@pytest.mark.parametrize("method", ["ppo", "dqn"])
def test_a_plan_that_grows_twice_resumes_exactly(finished, tmp_path, method):
    straight = copy(finished, method, tmp_path)
    assert resume(straight, 5, "--schedules", "anew", *QUIET[:2]) == 0
    stopped = copy(finished, method, tmp_path / "other")
    limit = json.dumps({"/runner/n_epochs": 5, "/runner/max_iter": 1})
    assert main(["--resume", str(stopped), "--repeal", limit, "--schedules", "anew", *QUIET]) == 75
    assert main(["--resume", str(stopped), *QUIET]) == 75
    assert main(["--resume", str(stopped), "--repeal", '{"/runner/max_iter": null}', *QUIET]) == 0
    different, _ = compare_checkpoints(*(list_checkpoints(s / "checkpoints")[-1] for s in (straight, stopped)))
    assert different == []


def test_a_plan_of_ones_own_duration_is_not_stretched_and_said_to_be_over(tmp_path, capsys):
    (tmp_path / "own_duration.py").write_text(
        "from digideep.parameters.component import describe\nfrom digideep.parameters.schedule import Linear\n"
        "from params import ppo_classic\n\ncpanel = ppo_classic.cpanel\n\n\ndef gen_params(cpanel):\n"
        "    tree = ppo_classic.gen_params(cpanel)\n"
        '    tree["agents"]["agent"]["lr"] = describe(Linear, start=1e-3, duration=2)\n    return tree\n'
    )
    assert train(tmp_path, "s", str(tmp_path / "own_duration.py"), tiny(number_epochs=1, test_activate=False)) == 0
    assert resume(tmp_path / "s", 2) == 2
    assert "lr is 0 from here to the end of the plan" in capsys.readouterr().err
    assert resume(tmp_path / "s", 2, "--schedules", "anew") == 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/explorer/train/num_workers", 4),
        ("/explorer/train/num_workers", 1),
        ("/explorer/train/n_steps", 16),
        ("/explorer/train/overlap", True),
        ("/explorer/train/backend", "envpool"),
        ("/memory/chunk_sample_len", 16),
        ("/memory/buffer_chunk_len", 400),
        ("/memory/buffer_chunk_len", 10),
        ("/agents/agent/policy/hidden_sizes", [16, 16]),
        ("/agents/agent/policy/is_dueling", True),
        ("/agents/agent/sampler/priorities", None),
        ("/agents/agent/class", "digideep.agent.sac.SAC"),
        ("/agents/agent/observation_path", ["/agent"]),
        ("/runner/n_cycles", 3),
    ],
)
def test_what_the_state_depends_on_cannot_change_in_place(finished, tmp_path, capsys, path, value):
    session = copy(finished, "dqn", tmp_path)
    before = digest(session)
    assert main(["--resume", str(session), "--repeal", json.dumps({path: value, "/runner/n_epochs": 4}), *QUIET]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert path in error
    assert digest(session) == before


def tune(base: Path, name: str, source: Path, params: str, panel: str, *more: str) -> int:
    return train(base, name, params, panel, "--load-checkpoint", str(source), *more)


def test_a_new_session_begins_with_the_weights_of_another_and_leaves_it_alone(finished, tmp_path):
    source = finished / "dqn"
    before = digest(source)
    changes = {**REPLAY, "num_workers": 4, "warm_start": 0, "lr": 1e-4, "seed": 5, "epoch_size": 4}
    assert tune(tmp_path, "new", source, DQN, tiny(**changes, number_epochs=2)) == 0
    assert digest(source) == before
    old = read_checkpoint(last(finished, "dqn"))[0]["agents"]["agent"]
    new = read_checkpoint(tmp_path / "new/checkpoints/checkpoint-0")[0]
    agent = new["agents"]["agent"]
    assert all((agent["policy"][key] == old["policy"][key]).all() for key in old["policy"])
    weights = np.concatenate([agent["policy"][key].ravel() for key in agent["policy"]])
    np.testing.assert_array_equal(agent["target_critic"]["flat"], weights)
    assert agent["n_updates"] == new["runner"]["i_epoch"] == new["memory"]["n_chunks"] == 0
    assert agent["critic_optimizer"]["step"] == 1  # of the step to come
    assert values(tmp_path / "new", "/update/agent/lr")[0] < 1e-4
    about = yaml.safe_load((tmp_path / "new/params.yaml").read_text())
    assert about["session_from"] == str(last(finished, "dqn"))


def test_normalisers_and_the_entropy_coefficient_come_along(tmp_path):
    panel = {"num_mini_batches": 2, "n_update": 1, "model_name": "Pendulum-v1", "test_interval": 1}
    assert train(tmp_path, "ppo", MUJOCO, tiny(**panel)) == 0
    best = tmp_path / "ppo/checkpoints/best"
    assert tune(tmp_path, "ppo2", best, MUJOCO, tiny(**panel, lr=1e-5, env_kwargs={"g": 5.0})) == 0
    old, new = (read_checkpoint(path)[0] for path in (best, tmp_path / "ppo2/checkpoints/checkpoint-0"))
    mean = [state["statistics"]["agent"]["0"]["/agent"]["mean"] for state in (old, new)]
    assert mean[0].any()
    np.testing.assert_array_equal(*mean)
    assert train(tmp_path, "sac", SAC, tiny(**REPLAY, number_epochs=1)) == 0
    assert tune(tmp_path, "sac2", tmp_path / "sac", SAC, tiny(**REPLAY, number_epochs=1)) == 0
    old, new = (read_checkpoint(tmp_path / name)[0]["agents"]["agent"] for name in
                ("sac/checkpoints/checkpoint-1", "sac2/checkpoints/checkpoint-0"))  # fmt: skip
    assert old["log_alpha"]["value"] == new["log_alpha"]["value"] != 0


def test_a_session_with_weights_of_another_resumes_exactly(finished, tmp_path):
    for name in ("straight", "stopped"):
        panel = tiny(number_epochs=2, num_workers=3, max_exec_iter=None if name == "straight" else 1)
        code = tune(tmp_path, name, finished / "ppo", CLASSIC, panel)
        assert code == (0 if name == "straight" else 75)
    assert main(["--resume", str(tmp_path / "stopped"), *QUIET]) == 0
    different, _ = compare_checkpoints(last(tmp_path, "straight"), last(tmp_path, "stopped"))
    assert [path for path in different if "max_exec_iter" not in path and "max_iter" not in path] == []


@pytest.mark.parametrize(
    ("params", "changes", "difference"),
    [
        (CLASSIC, {"hidden_sizes": [32, 32]}, "/agents/agent/policy/hidden_sizes/0 is 64 there and 32 here"),
        (
            CLASSIC,
            {"model_name": "Acrobot-v1"},
            "observation /agent has shape (4,) there and (6,) here; fine-tuning needs",
        ),
        (
            CLASSIC,
            {"recurrent": True, "num_mini_batches": 2},
            "/agents/agent/policy/class is 'digideep.policy.stochastic.StochasticPolicy'",
        ),
        (MUJOCO, {"model_name": "CartPole-v1"}, "/env/vect_wrappers"),
        (DQN, {**REPLAY}, "/agents/agent/policy/class"),
    ],
)
def test_other_spaces_or_networks_are_refused_by_their_first_difference(
    finished, tmp_path, capsys, params, changes, difference
):
    assert tune(tmp_path, "new", finished / "ppo", params, tiny(**changes)) == 2
    error = capsys.readouterr().err
    assert difference in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ({"high": 255}, {"high": 3}, "observation /agent goes from 0 to 255 there and 0 to 3 here"),
        ({"start": 0}, {"start": 100}, "observation /agent goes from 0 to 4 there and 100 to 104 here"),
    ],
)
def test_other_bounds_of_whole_numbers_are_refused_by_resume_play_and_fine_tuning(
    tmp_path, capsys, before, after, difference
):
    panel = {
        "from_module": "tests.support.environments",
        "model_name": "Gauge-v0",
        "number_epochs": 1,
        "test_activate": False,
    }
    assert train(tmp_path, "s", CLASSIC, tiny(**panel, env_kwargs=before)) == 0
    session, kept = tmp_path / "s", digest(tmp_path / "s")
    capsys.readouterr()
    repeal = ["--repeal", json.dumps({"/runner/n_epochs": 2, "/env/kwargs": after}), *QUIET]
    assert main(["--resume", str(session), *repeal]) == 2
    assert main(["--play", "--load-checkpoint", str(session), "--render", "none", *repeal]) == 2
    assert tune(tmp_path, "new", session, CLASSIC, tiny(**panel, env_kwargs=after)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(difference in line for line in lines)
    assert digest(session) == kept
    assert tune(tmp_path, "new", session, CLASSIC, tiny(**panel, env_kwargs=before)) == 0


def plain(space: gym.Space) -> dict:
    return EnvironmentInfo({"/agent": space}, Discrete(2), Discrete(2), None, ()).to_plain()


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        (Box(-1, 1, (3,)), Box(-2, 2, (3,)), True),
        (Box(0, 1, (8, 8, 3)), Box(0, 255, (8, 8, 3), np.float32), False),
        (Box(0, 9, (3,), np.int32), Box(0, 8, (3,), np.int32), False),
        (
            Box(np.uint8([0, 0, 0]), np.uint8([1, 2, 9]), dtype=np.uint8),
            Box(np.uint8([0, 0, 0]), np.uint8([1, 3, 9]), dtype=np.uint8),
            False,
        ),
        (
            Box(np.uint8([0, 0, 0]), np.uint8([1, 2, 9]), dtype=np.uint8),
            Box(np.uint8([0, 0, 0]), np.uint8([1, 2, 9]), dtype=np.uint8),
            True,
        ),
        (MultiDiscrete([2, 3]), MultiDiscrete([3, 2]), False),
        (MultiDiscrete([2, 3]), MultiDiscrete([2, 3], start=[0, 1]), False),
        (Discrete(5), Box(0, 1, ()), False),
        (MultiBinary(3), MultiBinary(3), True),
    ],
)
def test_spaces_differ_by_what_decides_how_their_numbers_are_read(before, after, is_same):
    old = json.loads(json.dumps(plain(before)))  # as a checkpoint gives it back
    assert (space_difference(old, plain(after)) is None) == is_same
    assert space_difference(old, plain(before)) is None


def test_differences_of_names_players_and_actions_are_told_in_words():
    old, other = plain(Discrete(5)), {**plain(Discrete(5)), "actions": "Discrete(3)"}
    assert space_difference(old, other) == "the actions are Discrete(2) there and Discrete(3) here"
    other = {**old, "observations": {"/x": [[], "int64", None]}}
    assert space_difference(old, other) == "the observations are /agent there and /x here"
    shared = [{**old, "agents": {"ego": {**old, "players": [player]}}} for player in ("a", "b")]
    assert space_difference(*shared) == "the players of agent 'ego' are ['a'] there and ['b'] here"
    assert space_difference(old, shared[0]) == "the agents nothing play there and ego here"


@pytest.mark.parametrize(
    ("params", "changes", "name"),
    [
        (CLASSIC, {"num_workers": 1, "n_steps": 1, "num_mini_batches": 1}, "num_mini_batches=1 leaves one row"),
        (CLASSIC, {"num_workers": 2, "n_steps": 8, "num_mini_batches": 16}, "num_mini_batches=16 leaves one row of 16"),
        (CLASSIC, {"num_workers": 2, "n_steps": 8, "num_mini_batches": 17}, "num_mini_batches must be at most"),
        (CLASSIC, {"recurrent": True, "num_workers": 4, "n_steps": 1, "num_mini_batches": 4}, "leaves one row"),
        (CLASSIC, {"lr": 0.0}, "lr must be above 0"),
        (DQN, {**REPLAY, "warm_start": 5000}, "warm_start must fit into the memory"),
        (SAC, {**REPLAY, "warm_start": 5000, "number_epochs": 1000}, "raise memory_size_in_chunks"),
        (DQN, {**REPLAY, "gradient_steps_per_frame": 0.0}, "gradient_steps_per_frame must be above 0"),
        (SAC, {**REPLAY, "lr_actor": 0.0}, "lr_actor"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_learn_is_refused_by_the_name_of_the_parameter(tmp_path, capsys, params, changes, name):
    panel = {"number_epochs": 2} | changes
    assert train(tmp_path, "s", params, tiny(**panel)) == 2
    assert name in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("params", "kept", "missing"),
    [
        (CLASSIC, [], "/masks, which PPO of agent 'agent'"),
        (CLASSIC, ["/masks"], "/rewards, which PPO"),
        (DQN, ["/masks", "/rewards", "/terminations"], "/observations/agent, which DQN"),
        (MIXED, ["/agents/x/masks"], "/rewards, which DQN of agent 'x'"),
    ],
)
def test_a_memory_that_leaves_out_what_is_learned_from_is_refused_by_the_key(tmp_path, capsys, params, kept, missing):
    panel = {"num_workers": 2} if params == MIXED else REPLAY if params == DQN else {}
    repeal = ["--repeal", json.dumps({"/memory/keys": kept})]
    assert train(tmp_path, "s", params, tiny(**panel), *repeal) == 2
    assert f"/memory/keys lacks {missing}" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_keys_that_hold_what_is_learned_from_are_enough(tmp_path):
    keys = ["/masks", "/rewards", "/terminations", "/observations/agent", "/agents/agent/actions"]
    repeal = ["--repeal", json.dumps({"/memory/keys": keys})]
    assert train(tmp_path, "s", DQN, tiny(**REPLAY, number_epochs=1), *repeal) == 0
    assert set(read_checkpoint(last(tmp_path, "s"))[0]["memory"]["layout"]) == set(keys)


@pytest.mark.parametrize(
    ("params", "changes", "name"),
    [
        (DQN, {"warm_start": 700}, "learning starts after 700 (warm_start"),
        (SAC, {"warm_start": 121}, "learning starts after 121 (warm_start"),
        (DQN, {"gradient_steps_per_frame": 1e-6}, "gradient_steps_per_frame=1e-06"),
        (TD3, {"model_name": "Pendulum-v1", "policy_delay": 1000}, "policy_delay=1000"),
    ],
)
def test_a_plan_too_short_to_learn_is_said_at_the_start_and_at_the_end(tmp_path, capsys, params, changes, name):
    panel = tiny(**REPLAY | {"number_epochs": 2} | changes)
    argv = ["--params", params, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "s"]
    assert main([*argv, "--no-monitor-cpu", "--no-monitor-gpu"]) == 0
    output = capsys.readouterr().out
    assert output.count("Agent 'agent' learns NOTHING") == output.count(name) == 2
    assert "learns NOTHING" in output[output.index("Finished after") :]


def test_the_tree_is_looked_at_and_not_only_the_panel(tmp_path, capsys):
    for name, value in (("batch_size", 5000), ("learning_starts", 1300)):
        repeal = json.dumps({f"/agents/agent/sampler/{name}": value})
        assert train(tmp_path, "s", DQN, tiny(**REPLAY, number_epochs=2), "--repeal", repeal) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "batch_size must be at most the 1,200 transitions" in errors[0]
    assert "learning_starts" in errors[1]
    assert len(errors) == 2


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        (CLASSIC, {"num_workers": 1, "n_steps": 1, "num_mini_batches": 1, "normalize_advantages": False}),
        (CLASSIC, {"num_workers": 2, "n_steps": 1, "num_mini_batches": 1}),
        (DQN, {**REPLAY, "warm_start": 60, "gradient_steps_per_frame": 0.17, "epoch_size": 5}),
    ],
)  # fmt: skip
def test_the_least_that_can_be_learned_from_is_not_refused(tmp_path, params, changes):
    assert train(tmp_path, "s", params, tiny(**{"number_epochs": 2, "test_activate": False} | changes)) == 0
    state = read_checkpoint(last(tmp_path, "s"))[0]
    assert state["agents"]["agent"]["n_updates"] >= 1
    assert "learns NOTHING" not in (tmp_path / "s/report.log").read_text()


def test_in_a_changed_environment_the_best_test_and_recent_returns_begin_anew(tmp_path):
    panel = tiny(number_epochs=2, test_interval=1, save_interval=1, patience=9)
    assert train(tmp_path, "s", CLASSIC, panel) == 0
    session = tmp_path / "s"
    before = Loader(session).varlog.mean("/return/test").max()
    repeal = {"/runner/n_epochs": 4, "/env/kwargs": {"sutton_barto_reward": True}}
    assert main(["--resume", str(session), "--repeal", json.dumps(repeal), *QUIET]) == 0
    state, best = (Loader(session).state(name)["runner"] for name in (4, "best"))
    assert before > 5, "a reward of 1 for each step"
    assert state["best_return"] == best["best_return"] == -1.0, "a reward of -1 for the fall"
    assert set(state["recent_returns"]) == {-1.0}
    assert state["tests_since_best"] == 1, "of the two tests since the change"
