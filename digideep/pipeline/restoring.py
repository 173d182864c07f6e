"""From a session to its Runner: built, and restored from the newest checkpoint that fits."""

from digideep.parameters.component import build
from digideep.parameters.tree import from_plain
from digideep.pipeline.branches import check_tree
from digideep.pipeline.checkpoint_content import check_kinds
from digideep.pipeline.continuing import begin, check_same_structure
from digideep.pipeline.runner import Runner
from digideep.pipeline.session import Session
from digideep.utility.errors import CheckpointError, FinishedError, TooLargeError, UsageError, WorkerError

# What wrong values in a checkpoint end in, whose files are as they were written.
_CONTENT_ERRORS = (
    LookupError, TypeError, AttributeError, RuntimeError, ValueError, OverflowError, AssertionError, MemoryError,
)  # fmt: skip


def make_runner(session: Session) -> Runner:
    """Build the Runner that the session's parameter tree describes, and restore the checkpoint it loads, if any.

    Where the newest checkpoint of a session turns out not to hold what a run does, the one before is tried.

    Raises:
        UsageError: if the tree or the checkpoint does not fit.
    """
    first: CheckpointError | None = None
    complaint = ""
    while True:
        try:
            return _make_runner(session)
        except CheckpointError as err:
            # What is said of two checkpoints is the fault of neither: then the first one is refused.
            first, last, complaint = first or err, complaint, str(err).replace(str(session.loaded_from), "")
            if complaint == last:
                raise first from None
            session.fall_back(err, first)


def _make_runner(session: Session) -> Runner:
    if session.state is not None and session.mode != "play":
        check_same_structure(session.state["params"], session.tree)
    try:
        tree = from_plain(session.tree)
        check_tree(tree, Runner)
        runner = build(tree["runner"], Runner, session=session, tree=tree)
    except _CONTENT_ERRORS as err:
        if session.state is None or session.args.repeal:
            raise
        if isinstance(err, (UsageError, WorkerError)) and not isinstance(err, TooLargeError):
            raise
        raise _misfit(session, "what digideep can build", err) from err
    if session.state is None:
        begin(runner)
        return runner
    try:
        if session.mode == "play":
            check_kinds(session.state["agents"], {name: a.state_dict() for name, a in runner.agents.items()}, "/agents")
        else:
            check_kinds(session.state, runner.state_dict())
        runner.load_state_dict(session.state)
        # Without --repeal it was killed after its last checkpoint, and comes to its end now.
        if session.mode == "train" and session.args.repeal and runner.i_epoch >= runner.n_epochs:
            raise FinishedError(
                f"{runner.i_epoch} epochs are done, and /runner/n_epochs is {runner.n_epochs}: nothing is left to do. "
                "Raise it with --repeal to go on."
            )
    except BaseException as err:
        runner.close()
        if isinstance(err, WorkerError):
            raise UsageError(f"{session.loaded_from} cannot be restored: {_one_line(err)}") from err
        if isinstance(err, _CONTENT_ERRORS) and not isinstance(err, UsageError):
            raise _misfit(session, "the parameters", err) from err
        raise
    return runner


def _misfit(session: Session, what: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{session.loaded_from} does not fit {what}: {type(error).__name__}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
