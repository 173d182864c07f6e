"""A short form of `python -m tests.kills`, and what it finds where two runs differ."""

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.kills.harness import Victim, differences, kill_and_resume
from tests.kills.methods import METHODS
from tests.pipeline.test_resume import train
from tests.support.forked import ForkedProgram
from tests.support.helpers import CLASSIC, tiny


class Forked(Victim):
    """One that has its imports done, which take most of the time."""

    def begin(self, arguments, environment):
        return ForkedProgram(arguments, self.output, environment)


@pytest.mark.parametrize(
    ("name", "aims"),
    [
        ("several agents, ppo and dqn", ("first save", "saving", "testing")),
        ("dqn", ("saving", "resuming", "training")),
    ],
)
def test_a_run_killed_while_it_starts_saves_tests_and_trains_ends_bit_identical_to_one_left_alone(tmp_path, name, aims):
    straight, killed = (Forked(METHODS[name], tmp_path / each, random.Random(0)) for each in ("straight", "killed"))
    assert kill_and_resume(straight, []) == ({}, 1, [])
    kills, sessions, wrong = kill_and_resume(killed, aims)
    assert (kills.total(), sessions, wrong) == (len(aims), 1, [])
    assert list(differences(straight, killed)) == []


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Two sessions of the same run, as `differences` takes them."""
    base = tmp_path_factory.mktemp("twins")
    for name in ("one", "other"):
        assert train(base, name, CLASSIC, tiny(number_epochs=2)) == 0
        (base / f"{name}.output").touch()
    return [Victim(METHODS["ppo"], base / name, random.Random(0)) for name in ("one", "other")]


def in_log(session: Path) -> None:
    lines = (session / "varlog.json").read_text().splitlines()
    first = json.loads(lines[0])
    first["data"]["/return/train"]["sum"] += 1
    (session / "varlog.json").write_text("\n".join([json.dumps(first), *lines[1:]]))


def in_episodes(session: Path) -> None:
    file = session / "monitor/train.0.monitor.csv"
    file.write_text(f"{file.read_text()}9,9,9\n")


def in_number_of_checkpoints(session: Path) -> None:
    shutil.rmtree(session / "checkpoints/checkpoint-1")


def in_best_policy(session: Path) -> None:
    (session / "checkpoints/best/runner.json").write_text("{}")


def in_what_is_left(session: Path) -> None:
    (session / "memory/.segment.writing").touch()


def in_what_was_said(session: Path) -> None:
    session.with_suffix(".output").write_text("Skipping checkpoint-1: broken")


@pytest.mark.parametrize(
    ("differ", "found"),
    [
        (in_log, "varlog.json differs"),
        (in_episodes, "monitor/train.0.monitor.csv differs"),
        (in_number_of_checkpoints, "checkpoints/checkpoint-1/manifest.json is in one of them only"),
        (in_best_policy, "checkpoints/best/runner.json differs"),
        (in_what_is_left, "memory/.segment.writing is in one of them only"),
        (in_what_was_said, "it said: Skipping"),
    ],
)
def test_whatever_differs_between_two_runs_is_found(twins, tmp_path, differ, found):
    one, other = twins
    assert list(differences(one, other)) == []
    changed = Victim(METHODS["ppo"], shutil.copytree(other.session, tmp_path / "changed"), random.Random(0))
    changed.output.touch()
    differ(changed.session)
    assert found in "\n".join(differences(one, changed))
