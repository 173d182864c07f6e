"""Deliberate faults in `digideep/launch`."""

from tests.faults.runner import Fault

_CHILD = "digideep/launch/child.py"
_ENGINE = "digideep/launch/engine.py"
_GROUP = "digideep/launch/group.py"
_LAUNCHER = "digideep/launch/launcher.py"
_LOCAL = "digideep/launch/local.py"
_PLAN = "digideep/launch/plan.py"
_SLURM = "digideep/launch/slurm_script.py"

_GROUP_TESTS = "tests/launch/test_group.py"
_LOCAL_TESTS = "tests/launch/test_local.py"
_PLAN_TESTS = "tests/launch/test_plan.py"
_SLURM_TESTS = "tests/launch/test_slurm.py"
_KILLS = f"{_GROUP_TESTS}::test_a_group_whose_launcher_and_children_are_killed_ends_with_the_same_bits"

FAULTS: tuple[Fault, ...] = (
    Fault(
        _CHILD,
        '    threading.Thread(target=_watch, args=(pipe,), daemon=True, name="digideep-launcher").start()\n',
        "",
        "a process that outlives its launcher",
        _KILLS,
    ),
    Fault(
        _CHILD,
        "    time.sleep(STOP_S)\n",
        "    threading.Event().wait()\n",
        "a process that never ends if it does not stop",
        f"{_LOCAL_TESTS}::test_a_process_that_does_not_stop_kills_itself_or_is_killed",
    ),
    Fault(
        _ENGINE,
        "        if self.is_begun():\n",
        "        if False:\n",
        "a session begun anew instead of resumed",
        _KILLS,
    ),
    Fault(
        _GROUP,
        "            elif (place := session_of(file)) is not None:\n",
        "            elif (place := None) is not None:\n",
        "code that comes with a group run",
        f"{_GROUP_TESTS}::test_a_group_that_is_damaged_or_not_ours_is_refused",
    ),
    Fault(
        _GROUP,
        "if not is_whole or not _is_begin(begin):",
        "if not is_whole:",
        "sessions made where a damaged plan says",
        f"{_GROUP_TESTS}::test_a_group_that_is_damaged_or_not_ours_is_refused",
    ),
    Fault(
        _LAUNCHER,
        "run.failures <= self._retries",
        "run.failures < self._retries",
        "a retry too few",
        f"{_GROUP_TESTS}::test_a_run_that_fails_stops_no_other_is_retried_as_often_as_asked_and_its_reason_is_told",
    ),
    Fault(
        _LAUNCHER,
        "ELSEWHERE if is_busy else",
        "WAITING if is_busy else",
        "a session that another process holds started all the same",
        f"{_GROUP_TESTS}::test_a_session_that_somebody_else_runs_is_waited_for_and_not_run_twice",
    ),
    Fault(
        _LOCAL,
        "self._cores[slot], self._gpus",
        "(), self._gpus",
        "cores not shared out",
        f"{_LOCAL_TESTS}::test_jobs_at_once_have_cores_and_gpus_of_their_own",
    ),
    Fault(
        _PLAN,
        'parameters["num_processes"] = 0',
        'parameters["num_processes"] = None',
        "a number of processes that depends on the cores",
        f"{_PLAN_TESTS}::test_a_number_of_processes_that_is_left_open_does_not_depend_on_the_cores_of_a_place",
    ),
    Fault(
        _PLAN,
        'device="cpu", **read_begin(begin),',
        'device="cpu",',
        "a group made whose runs cannot begin",
        f"{_GROUP_TESTS}::test_what_is_refused_is_said_in_one_line_and_makes_nothing",
    ),
    Fault(
        _SLURM,
        'why = "" if _FORGOTTEN in str(err) else str(err)',
        'why = ""',
        "a job taken for ended since Slurm does not answer",
        f"{_SLURM_TESTS}::test_only_a_job_that_slurm_has_forgotten_is_taken_for_ended",
    ),
)
