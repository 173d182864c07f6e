"""However a run ends, its exit code says how, in one line, and nothing that was learned is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from digideep.environment import play
from digideep.main import cli, main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.session_directory import hold, let_go
from digideep.pipeline.stop_signals import StopSignals, end_child
from digideep.pipeline.verify import compare_checkpoints
from digideep.utility.errors import Interruption
from tests.support.helpers import CLASSIC, ROOT, command, tiny

UNRULY = {
    "model_name": "Unruly-v0",
    "from_module": "tests.support.unruly",
    "num_mini_batches": 2,
    "n_update": 1,
    "n_steps": 16,
}


def train(path, kind="", *more, **panel):
    """`argv` of a training on an unruly environment."""
    panel = {**UNRULY, "test_activate": False, "number_epochs": 2, "env_kwargs": {"kind": kind}, **panel}
    return ["--params", CLASSIC, "--cpanel", tiny(**panel), "--session-path", str(path), "--session-name", "s", *more]


def test_a_lock_whose_file_an_environment_has_closed_is_let_go_of_in_silence(tmp_path):
    lock = hold(tmp_path)
    os.close(lock._context.lock_file_fd)
    let_go(lock)
    assert not lock.is_locked
    again = hold(tmp_path)
    let_go(again)
    assert not again.is_locked


# ---------------------------------------------------------------------- the end of the process

LINGERING = """
import atexit, sys, threading
from digideep.pipeline import ending

atexit.register(print, "handlers have run")
{code}
print("written", end=" ")
ending._THREADS_S, ending._HANDLERS_S = {limits}
ending.watch_the_end(75)
sys.exit(75)
"""


@pytest.mark.parametrize(
    ("code", "limits", "output", "said"),
    [
        ("", "60, 60", "written handlers have run\n", ""),
        ("threading.Thread(target=lambda: threading.Event().wait(0.1)).start()", "60, 60",
         "written handlers have run\n", ""),
        ("from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor().submit(int)", "60, 60",
         "written handlers have run\n", ""),
        ("threading.Thread(target=threading.Event().wait, name='camera').start()", "0.1, 60",
         "written handlers have run\n",
         "digideep: code of yours left camera running, which is not waited for any longer."),
        ("atexit.register(threading.Event().wait)", "60, 0.1", "written ",
         "digideep: an exit handler of yours does not end, and is not waited for any longer."),
        ("threading.Thread(target=threading.Event().wait).start(); atexit.register(threading.Event().wait)", "0.1, 0.1",
         "written ", "digideep: code of yours left Thread-1 (wait) running"),
        ("threading.Thread(target=threading.Event().wait).start(); sys.stderr.close()", "0.1, 60",
         "written handlers have run\n", ""),
    ],
)  # fmt: skip
def test_the_process_ends_with_its_code_whatever_is_left_in_it(code, limits, output, said):
    program = [sys.executable, "-c", LINGERING.format(code=code, limits=limits)]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert ended.returncode == 75
    assert ended.stdout == output
    assert ended.stderr.startswith(said)
    assert len(ended.stderr.splitlines()) == bool(said)


def test_only_the_program_as_a_process_of_its_own_ends_it(monkeypatch):
    codes = []
    monkeypatch.setattr("digideep.main.watch_the_end", codes.append)
    assert main(["--no-such-flag"]) == 2
    assert codes == []
    monkeypatch.setattr("digideep.main.main", lambda: 3)
    with pytest.raises(SystemExit, match="3"):
        cli()
    assert codes == [3]


# ---------------------------------------------------------------------- environments that end the program


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("exit 0 in init", 2, "cannot be made with {'kind': 'exit 0 in init'}. It called sys.exit(0) (unruly.py, line"),
        ("interrupt in init", 2, "raised KeyboardInterrupt (unruly.py"),
        ("raise in init", 2, "It failed: RuntimeError: the gripper is stuck (unruly.py"),
        ("exit 0 in reset", 1, "worker 0"),
        ("exit 0 in step", 1, "step 3, last action"),
        ("interrupt in step", 1, "raised KeyboardInterrupt (unruly.py"),
        ("generator exit in step", 1, "raised GeneratorExit"),
    ],
)
def test_an_environment_cannot_end_the_program_in_silence(kind, code, said, tmp_path, capsys):
    assert main(train(tmp_path, kind)) == code
    output = capsys.readouterr().err
    assert said in output
    assert "Traceback" not in output
    assert (tmp_path / "s").exists() == (code == 1)


def test_a_session_that_is_removed_while_it_runs_is_said_in_one_line(tmp_path, capsys):
    kind = {"kind": "remove the session in step", "log": str(tmp_path / "log")}
    assert main(train(tmp_path, number_epochs=3, env_kwargs=kind)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"digideep: the session {tmp_path / 's'} has been removed while it ran."
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("kind", ["exit 0 in close", "raise in close", "interrupt in close"])
def test_a_close_that_fails_changes_no_exit_code(kind, tmp_path, capsys):
    assert main(train(tmp_path, kind)) == 0
    assert (tmp_path / "s/done.lock").exists()
    assert "the environment of worker 1: close() failed" in capsys.readouterr().out
    repeal = ["--repeal", '{"/runner/max_iter": 1}']
    assert main([*train(tmp_path / "2", kind), *repeal]) == 75


PARAMS = """
import sys
from digideep.pipeline.runner import Runner
from digideep.parameters.component import describe
from params import ppo_classic

{top}
cpanel = ppo_classic.cpanel


class Mine(Runner):
    def override(self):
        {override}

    def train_cycle(self):
        super().train_cycle()
        {cycle}

    def custom(self):
        {cycle}


def gen_params(cpanel):
    {generate}
    tree = ppo_classic.gen_params(cpanel)
    return tree | {{"runner": tree["runner"] | {{"class": Mine}}}}
"""


@pytest.mark.parametrize(
    ("place", "statement", "code"),
    [
        ("top", "sys.exit(0)", 2),
        ("top", "import argparse; argparse.ArgumentParser().parse_args(['--no-such-flag'])", 2),
        ("top", "raise KeyboardInterrupt", 2),
        ("generate", "sys.exit()", 2),
        ("override", "sys.exit('enough')", 2),
        ("cycle", "sys.exit(0)", 1),
        ("cycle", "raise GeneratorExit", 1),
    ],
)
def test_a_parameter_file_cannot_end_the_program_in_silence(place, statement, code, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    name = f"ending_{place}_{len(statement)}_params"
    places = dict.fromkeys(("top", "override", "cycle", "generate"), "pass") | {place: statement}
    (tmp_path / f"{name}.py").write_text(PARAMS.format(**places))
    argv = ["--params", f"{name}.py", "--cpanel", tiny(number_epochs=1), "--session-name", "s"]
    assert main(argv) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"({name}.py, line " in last
    assert (tmp_path / "digideep_sessions").exists() == (code == 1)
    if place == "cycle":
        assert "SystemExit" in (tmp_path / "digideep_sessions/s/report.log").read_text() or "Gen" in statement
        assert main([*argv[:4], "--custom"]) == 1


def test_an_exit_at_the_import_of_from_module_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaving.py").write_text("import sys\n\nsys.exit(0)\n")
    assert main(train(tmp_path, from_module="leaving")) == 2
    assert "called sys.exit(0) (leaving.py, line 3)" in capsys.readouterr().err
    assert play.main(["--model", "X-v0", "--module", "leaving", "--check"]) == 1
    assert "called sys.exit(0) (leaving.py, line 3)" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["exit 0 in step", "exit 0 in reset", "exit 0 in init", "generator exit in step"])
def test_a_check_of_an_environment_that_ends_the_program_fails(kind, capsys):
    argv = ["--model", "Unruly-v0", "--module", "tests.support.unruly", "--env-kwargs", json.dumps({"kind": kind})]
    assert play.main([*argv, "--check"]) in (1, 2)
    output = "".join(capsys.readouterr())
    assert "called sys.exit(0)" in output or "GeneratorExit" in output
    assert play.main([*argv, "--render", "none"]) in (1, 2)


def test_help_still_ends_with_zero():
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0


# ---------------------------------------------------------------------- signals


@pytest.mark.parametrize("repeal", [{}, {"/explorer/test/deterministic": False}])
def test_a_test_that_is_cut_off_begins_anew_and_the_run_ends_bit_identical(repeal, tmp_path):
    flag = tmp_path / "log.stop"
    panel = {"test_activate": True, "test_interval": 1, "env_kwargs": {"log": str(tmp_path / "log")}}
    panel["test_env_kwargs"] = {"kind": "stop in step"}
    more = ["--repeal", json.dumps(repeal)] if repeal else []
    assert main([*train(tmp_path / "straight", **panel), *more]) == 0
    create = [*train(tmp_path / "stopped", **panel), *more]
    assert main([*create, "--create-session-only"]) == 0
    flag.write_text("")
    session = tmp_path / "stopped/s"
    assert main(["--resume", str(session)]) == 75
    assert not flag.exists()
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == ["checkpoint-0", "checkpoint-0+2"]
    assert "The test of epoch 1 was cut off" in (session / "report.log").read_text()
    assert main(["--resume", str(session)]) == 0
    last = [list_checkpoints(path / "checkpoints")[-1] for path in (tmp_path / "straight/s", session)]
    different, total = compare_checkpoints(*last)
    assert different == []
    assert total > 100


def test_an_endless_play_is_stopped_with_the_returns_that_there_are(tmp_path, capsys):
    assert main(train(tmp_path, number_epochs=1, test_env_kwargs={"length": None})) == 0
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert main(["--play", "--load-checkpoint", str(tmp_path / "s"), "--render", "none"]) == 75
    assert "No episode was played to its end" in capsys.readouterr().out


def test_a_film_that_is_cut_off_is_left_out_and_its_epoch_is_whole(tmp_path):
    (tmp_path / "log.stop").write_text("")
    panel = {
        "env_kwargs": {"log": str(tmp_path / "log")},
        "test_env_kwargs": {"kind": "stop in step"},
        "video_interval": 1,
    }
    assert main(train(tmp_path, **panel)) == 75
    assert list_checkpoints(tmp_path / "s/checkpoints")[-1].name == "checkpoint-1"
    assert list((tmp_path / "s").rglob("*.mp4")) == []
    assert main(["--resume", str(tmp_path / "s")]) == 0
    assert [path.name for path in (tmp_path / "s/videos").iterdir()] == ["epoch-000002.mp4"]


@pytest.fixture
def started(monkeypatch):
    """Starts processes that hear of a terminal that is closed, also where these tests do not; ends what is left."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with contextlib.ExitStack() as stack:

        def start(argv, **options):
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
            process = stack.enter_context(subprocess.Popen(argv, cwd=ROOT, env=environment, **options))
            stack.callback(process.kill)
            return process

        yield start
    signal.signal(signal.SIGHUP, before)


def catches(process, number):
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return int(caught, 16) >> number - 1 & 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_at_the_start_ends_with_75_one_line_and_nothing_made(number, tmp_path, started):
    # Python itself handles SIGINT, before it has read a line of ours: SIGTERM tells when that has been done.
    process = started(command(*train(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not (catches(process, signal.SIGTERM) and catches(process, signal.SIGHUP)):
        time.sleep(0.005)
    time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert output == f"digideep: stopped by {number.name}. Run the same command again.\n"
    assert not (tmp_path / "s").exists()


def test_a_terminal_that_is_closed_stops_a_run_after_its_cycle_with_a_checkpoint(tmp_path, started):
    mine, theirs = os.openpty()
    os.set_blocking(mine, False)
    # Whoever leads a session gets the terminal that it opens, and hears when that is closed.
    through = ["sh", "-c", 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1', "sh", os.ttyname(theirs)]
    argv = [*through, *command(*train(tmp_path, number_epochs=1, epoch_size=10**6))]
    process = started(argv, start_new_session=True)
    shown = b""
    while process.poll() is None and not (tmp_path / "s/monitor").exists():
        with contextlib.suppress(BlockingIOError, OSError):
            shown += os.read(mine, 2**16)
        time.sleep(0.005)
    os.close(theirs)
    os.close(mine)
    assert process.wait(60) == 75, shown.decode()
    assert "+" in list_checkpoints(tmp_path / "s/checkpoints")[-1].name, "stopped within the epoch"
    report = (tmp_path / "s/report.log").read_text()
    assert "(SIGHUP)" in report
    assert "Traceback" not in report


def test_a_run_under_nohup_goes_on_without_its_terminal(tmp_path, started):
    argv = ["nohup", *command(*train(tmp_path, number_epochs=24))]
    run = started(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run.poll() is None and not (tmp_path / "s/monitor").exists():
        time.sleep(0.005)
    assert run.poll() is None
    run.send_signal(signal.SIGHUP)
    assert run.wait(60) == 0
    assert (tmp_path / "s/done.lock").exists()


def test_a_line_that_cannot_be_printed_amid_what_a_signal_interrupts_ends_nothing():
    def announce(text):
        raise ImportError("partially initialized module")

    signals = StopSignals()
    signals.announce = announce
    signals.install()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.reason == "SIGTERM"
    finally:
        signals.restore()


def test_a_signal_is_a_request_once_the_run_has_begun_and_nothing_once_it_has_ended():
    signals, announced = StopSignals(), []
    signals.announce = announced.append
    signals.install()
    try:
        signals.release()
        signals.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.reason == "SIGTERM"
        assert announced[0].startswith("SIGTERM: stopping after this cycle.")
        os.kill(os.getpid(), signal.SIGTERM)  # as a program that signals a process and then its group
        assert len(announced) == 1
        assert not signals.must_cut()
        with signals.cutting():
            assert signals.must_cut()
        with pytest.raises(Interruption, match="stopped at once") as second:
            os.kill(os.getpid(), signal.SIGINT)
        assert second.value.exit_code == 1
        signals.settle(0)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signals.restore()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_before_anything_is_written_ends_the_program_at_once():
    signals = StopSignals()
    signals.install()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)  # while imports go on
        with pytest.raises(Interruption, match="stopped by SIGUSR1") as held:
            signals.release()
        assert held.value.exit_code == 75
    finally:
        signals.restore()


def test_whole_episodes_are_cut_off_when_the_time_is_over():
    signals = StopSignals()
    signals.limit(-1.0)
    assert not signals.must_cut()
    with signals.cutting():
        assert signals.must_cut()


def test_handlers_are_put_back_and_none_are_needed_in_a_thread(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    results = []
    argv = [*train(tmp_path)[:4], "--dry-run"]
    thread = threading.Thread(target=lambda: results.append(main(argv)))
    thread.start()
    thread.join()
    assert results == [0]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_verification_that_is_stopped_leaves_no_process_and_no_directory(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    argv = command("--params", CLASSIC, "--cpanel", tiny(number_epochs=500), "--verify-resume", "500")
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "1. 500 epochs straight\n"
        end = time.monotonic() + 60
        while not list(tmp_path.glob("*/straight/checkpoints/checkpoint-0")) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 75
    assert list(tmp_path.glob("digideep-verify-*")) == []


def test_a_child_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr("digideep.pipeline.stop_signals._CHILD_S", 0.3)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('there', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        end_child(process)
        assert process.returncode == -signal.SIGKILL


# ---------------------------------------------------------------------- standard output


def test_a_closed_standard_output_does_not_end_a_training(tmp_path):
    argv = [*command(*train(tmp_path, number_epochs=4)), "--no-monitor-cpu", "--no-monitor-gpu"]
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 0
    assert "The output cannot be written any more (Broken pipe)" in error
    assert "Finished after" in (tmp_path / "s/report.log").read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_standard_output_does_not_end_an_evaluation_or_its_exit_code(tmp_path):
    with open("/dev/full", "w") as full:
        argv = [*command(*train(tmp_path)), "--play", "--episodes", "2", "--render", "none"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert done.returncode == 0
    assert json.loads((tmp_path / "s/evaluation.json").read_text())["returns"] == [5.0, 5.0]


TALKING = """
from params import ppo_classic

print("the parameter file speaks")
cpanel = ppo_classic.cpanel


def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    return tree | {"explorer": tree["explorer"] | {"eval": tree["explorer"]["eval"] | {"num_processes": 1}}}
"""


def test_what_anybody_prints_is_not_mixed_with_the_json(tmp_path):
    (tmp_path / "talking.py").write_text(TALKING)
    argv = train(tmp_path, "print in step", "--play", "--episodes", "2", "--json")
    argv[1] = str(tmp_path / "talking.py")
    done = subprocess.run(
        command(*argv), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["returns"] == [5.0, 5.0]
    assert done.stdout.count("\n") == 1
    for line in ("the parameter file speaks", "the environment speaks", "its library speaks", "speaks, into a buffer"):
        assert line in done.stderr
