"""How many processes a program chooses for its workers."""

import yaml

from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.stepping.processes import choose_num_processes
from digideep.main import main
from tests.support.helpers import CLASSIC, tiny


def choose(num_workers, cores, seconds):
    spec = EnvironmentSpec(name="Slow-v0", from_module="tests.support.environments", kwargs={"seconds": seconds})
    return choose_num_processes(spec, inspect_environment(spec), num_workers, cores)


def test_expensive_environments_are_worth_a_process_per_core_and_cheap_ones_none():
    assert choose(num_workers=2, cores=4, seconds=0.002) == 2
    assert choose(num_workers=64, cores=4, seconds=0.002) == 4
    assert choose(num_workers=1, cores=4, seconds=0.002) == 0
    assert choose(num_workers=2, cores=1, seconds=0.002) == 0
    assert choose(num_workers=2, cores=4, seconds=0.0) == 0
    assert choose(num_workers=8, cores=4, seconds=0.0003) == 4  # all of them together are expensive


def test_the_choice_is_written_down_for_whoever_resumes(tmp_path):
    panel = tiny(num_processes=None, number_epochs=1)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "run"]
    assert main([*argv, "--no-monitor-cpu", "--no-monitor-gpu"]) == 0
    tree = yaml.safe_load((tmp_path / "run" / "params.yaml").read_text())
    assert [tree["explorer"][mode]["num_processes"] for mode in ("train", "test")] == [0, 0]
