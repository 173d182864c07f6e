"""What an environment has started is ended, whatever it does about it."""

import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from digideep.environment.closing import close_quietly
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.pipeline.stop_signals import StopSignals
from digideep.utility.errors import WorkerError
from tests.support.helpers import ROOT, Scripted, make_explorer
from tests.support.unruly import alive, log_of


def explorer_of(kind, num_processes, log=None):
    kwargs = {"kind": kind, "log": log and str(log)}
    explorer = make_explorer("unruly:Unruly-v0", Scripted([0, 0]), env_kwargs=kwargs, num_processes=num_processes)
    explorer.reset()
    return explorer


def are_gone(pids):
    """True if no process is left, within some seconds."""
    end = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(alive(pid) for pid in pids)


@pytest.fixture(autouse=True)
def _modules(monkeypatch):
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    monkeypatch.syspath_prepend(str(ROOT / "tests/support"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests/support'}")


@pytest.fixture
def own_signals():
    """The program's own handlers: with Python's, a KeyboardInterrupt is the user's."""
    signals = StopSignals()
    signals.install()
    yield
    signals.restore()


@pytest.mark.parametrize("num_processes", [0, 1, 2])
@pytest.mark.parametrize("kind", ["a child of subprocess", "a child of multiprocessing"])
def test_every_environment_is_closed_and_may_have_children(kind, num_processes, tmp_path):
    explorer = explorer_of(kind, num_processes, tmp_path / "log")
    explorer.update()
    explorer.close()
    explorer.close()  # again does no harm
    children = [int(line.split()[1]) for line in log_of(tmp_path / "log") if "child" in line]
    closed = [line for line in log_of(tmp_path / "log") if "closed" in line]
    assert len(children) == len(closed) == 3  # one was made to ask for its spaces
    assert are_gone(children)


@pytest.mark.parametrize("num_processes", [0, 2])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("raise in close", "close() failed: RuntimeError: the gripper is stuck"),
        ("exit 0 in close", "close() failed: called sys.exit(0) (unruly.py, line"),
        ("interrupt in close", "close() failed: raised KeyboardInterrupt"),
    ],
)
def test_a_close_that_fails_is_told_and_ends_nothing(kind, said, num_processes, caplog, own_signals):
    explorer = explorer_of(kind, num_processes)
    caplog.clear()
    explorer.close()
    assert [said in record.getMessage() for record in caplog.records] == [True, True]
    assert "the environment of worker 1" in caplog.text


def test_a_close_that_hangs_is_given_up():
    start = time.monotonic()
    assert close_quietly(lambda: time.sleep(60), 0.2) == "close() took longer than 0.2 s and was given up"
    assert time.monotonic() - start < 10
    assert close_quietly(lambda: None) is None


def test_the_alarm_of_somebody_else_still_comes():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    others = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        assert close_quietly(lambda: time.sleep(0.01), 5) is None
        time.sleep(0.6)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *others)


@pytest.mark.parametrize("num_processes", [0, 1])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("exit 0 in step", r"worker 0 \(episode seed \d+, step 3, last action 0\) called sys.exit\(0\) \(unruly.py"),
        ("exit text in step", r"called sys.exit\('the simulator has gone'\)"),
        ("generator exit in step", "raised GeneratorExit"),
        ("interrupt in reset", "step 0, last action None\\) raised KeyboardInterrupt"),
    ],
)
def test_an_environment_that_ends_the_program_is_an_error_of_its_worker(kind, said, num_processes, own_signals):
    explorer = make_explorer(
        "unruly:Unruly-v0", Scripted([0, 0]), env_kwargs={"kind": kind}, num_processes=num_processes
    )
    try:
        with pytest.raises(WorkerError, match=said):
            explorer.update()
    finally:
        explorer.close()


@pytest.mark.parametrize("num_processes", [0, 1])
@pytest.mark.parametrize("kind", ["fork in step", "fork and exit in step"])
def test_a_child_that_is_forked_in_a_step_ends_by_itself(kind, num_processes, tmp_path):
    explorer = explorer_of(kind, num_processes)
    try:
        chunk = explorer.update()
        assert chunk["/rewards"].sum() == 8
    finally:
        explorer.close()


def test_the_first_workers_are_closed_if_a_later_one_cannot_be_made(tmp_path):
    spec = EnvironmentSpec(name="unruly:Unruly-v0", kwargs={"kind": "exit 0 in init", "log": str(tmp_path / "log")})
    with pytest.raises(ValueError, match=r"cannot be made .*called sys.exit\(0\)"):
        inspect_environment(spec)


PARENT = """
import sys, time
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.stepping.vector_environment import VectorEnvironment
from digideep.environment.stepping.worker import WorkerPlan

if __name__ == "__main__":
    spec = EnvironmentSpec(name="unruly:Unruly-v0", kwargs={"kind": "a child of subprocess", "log": sys.argv[1]})
    environments = VectorEnvironment(WorkerPlan(spec, 0, "train"), inspect_environment(spec), 2, 2, 60.0)
    print("there", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_children_of_environments_end_with_the_parent_even_if_it_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}"}
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as parent:
        assert parent.stdout.readline() == b"there\n"
        parent.kill()
    children = [int(line.split()[1]) for line in log_of(tmp_path / "log") if "child" in line]
    assert len(children) == 3
    assert are_gone(children)
