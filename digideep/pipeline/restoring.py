"""Build the Runner of a session, and restore it from the newest checkpoint that fits."""

import logging

from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.stepping.processes import available_cores, choose_num_processes
from digideep.environment.tools.check import report_abilities
from digideep.parameters.component import build
from digideep.parameters.tree import from_plain
from digideep.pipeline.ahead import AheadExplorer
from digideep.pipeline.announcements import log_start
from digideep.pipeline.checkpoint_content import check_kinds
from digideep.pipeline.continuing import check_plans, check_same_structure, go_on, load_weights, unread_memories
from digideep.pipeline.demonstrations import check_pretraining, fill_memories
from digideep.pipeline.offline import OfflineRunner
from digideep.pipeline.runner import Runner
from digideep.pipeline.session import Session
from digideep.pipeline.tree_checks import check_tree
from digideep.utility.errors import CheckpointError, FinishedError, TooLargeError, UsageError, WorkerError
from digideep.utility.text import one_line
from digideep.utility.user_code import in_words

# What wrong values in a checkpoint end in, whose files are as they were written.
_CONTENT_ERRORS = (
    LookupError, TypeError, AttributeError, RuntimeError, ValueError, OverflowError, AssertionError, MemoryError,
)  # fmt: skip

_log = logging.getLogger("digideep")


def make_runner(session: Session) -> Runner:
    """Build the Runner that the session's parameter tree describes, and restore the checkpoint it loads, if any.

    Where the newest checkpoint of a session turns out not to hold what a run does, the one before is tried. What does
    not fit is refused.
    """
    first: CheckpointError | None = None
    complaint = ""
    while True:
        runner: Runner | None = None
        try:
            runner = _make_runner(session)
            error = None
        except CheckpointError as err:
            error = err
        errors = [each for each in session.ranks.gather(None if error is None else str(error)) if each is not None]
        if runner is not None and not errors:
            if session.mode in ("train", "create") and session.ranks.is_first:  # nothing is refused any more
                train = runner.explorer["train"]
                parameters = runner.tree["explorer"]["train"] | {"is_ahead": isinstance(train, AheadExplorer)}
                report_abilities(runner.environment, runner.info, **parameters)
                log_start(runner.tree, runner.agents, train, runner.memories)
            return runner
        if runner is not None:  # another rank goes back to an older checkpoint
            runner.close()
        error = error or CheckpointError(errors[0])
        # What is said of two checkpoints is the fault of neither: then the first one is refused.
        first, last, complaint = first or error, complaint, str(error).replace(str(session.loaded_from), "")
        if complaint == last:
            raise first from None
        session.fall_back(error, first)


def _make_runner(session: Session) -> Runner:
    if session.state is not None and session.mode != "play":
        check_same_structure(session.state["params"], session.tree)
    try:
        check_tree(from_plain(session.tree), Runner)
        _settle_processes(session)
        tree = from_plain(session.tree)
        runner = build(tree["runner"], Runner, session=session, tree=tree)
    except _CONTENT_ERRORS as err:
        if session.state is None or session.args.repeal:
            raise
        if isinstance(err, (UsageError, WorkerError)) and not isinstance(err, TooLargeError):
            raise
        raise _misfit(session, "what digideep can build", err) from err
    if session.state is None:
        try:
            _begin(runner)
        except BaseException:
            runner.close()
            raise
        return runner
    try:
        if session.mode == "play":
            check_kinds(session.state["agents"], {name: a.state_dict() for name, a in runner.agents.items()}, "/agents")
        else:
            check_kinds(session.state, runner.state_dict())
        runner.load_state_dict(session.state)
        if session.state["params"]["env"] != session.tree["env"]:
            runner.progress.forget()
        if session.mode != "play" and runner.i_epoch < runner.n_epochs:
            before = session.state["params"]["runner"]["n_epochs"]
            runner.plan_note = go_on(runner.agents, session.args.schedules, runner.i_epoch, before, runner.n_epochs)
            if runner.plan_note is not None and session.mode == "train":
                check_plans(runner.agents)
        # Without --repeal it was killed after its last checkpoint, and comes to its end now.
        if session.mode == "train" and session.args.repeal and runner.is_finished:
            goal, plan = runner.limits.verdict(runner.progress), f"/runner/n_epochs is {runner.n_epochs}"
            what, advice = (
                (plan, "Raise it with --total-frames or")
                if goal is None
                else (goal, "Raise it, or set it to null, with")
            )
            raise FinishedError(
                f"{runner.i_epoch} epochs are done, and {what}: nothing is left to do. {advice} --repeal to go on."
            )
    except BaseException as err:
        runner.close()
        if isinstance(err, WorkerError):
            raise UsageError(f"{session.loaded_from} cannot be restored: {one_line(str(err))}") from err
        if isinstance(err, _CONTENT_ERRORS) and not isinstance(err, UsageError):
            raise _misfit(session, "the parameters", err) from err
        raise
    return runner


def _settle_processes(session: Session) -> None:
    """Choose the numbers of processes that the tree leaves open.

    They are written down, since results depend on them: a resumed run takes the same.
    """
    tree = from_plain(session.tree)
    open_explorers = {
        name: explorer for name, explorer in tree["explorer"].items() if explorer.get("num_processes", 0) is None
    }
    if open_explorers:
        environment = build(tree["env"], EnvironmentSpec)
        info, ranks = inspect_environment(environment), session.ranks
        cores = max(available_cores() // ranks.local_size, 1)
        for name, explorer in open_explorers.items():
            number = choose_num_processes(environment, info, explorer["num_workers"], cores)
            session.settle(f"/explorer/{name}/num_processes", ranks.told_by_first(number))


def _begin(runner: Runner) -> None:
    """Give a new run the weights that its session names, and refuse a plan in which nothing is learned."""
    session = runner.session
    if session.weights is not None:
        train, spaces = runner.explorer["train"], runner.info.to_plain()
        load_weights(session.weights, session.loaded_from, session.tree, runner.agents, train, spaces)
    if session.mode != "play":
        fill_memories(
            runner.memories, runner.explorer, runner.agents, runner.environment, session.ranks,
            is_offline=isinstance(runner, OfflineRunner),
        )  # fmt: skip
    if session.mode in ("train", "create"):
        check_pretraining(runner.agents)
        check_plans(runner.agents)
        for name in unread_memories(runner.agents, runner.memories):
            problem = f"No agent learns from the memory '{name}'."
            if type(runner).train_cycle is Runner.train_cycle:
                raise UsageError(f"{problem} Give the sampler of one a share of it, or leave it out.")
            _log.warning("%s Give the sampler of one a share of it, unless your Runner reads it.", problem)


def _misfit(session: Session, what: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{session.loaded_from} does not fit {what}: {in_words(error)}")
