"""The errors that a person sees. `digideep.main` turns each into one line and an exit code."""


class UsageError(ValueError):
    """A user's mistake, found before the first step: one line that says what is wrong and what to do (exit code 2)."""

    exit_code = 2
    is_said = False  # by another rank, in the same words


class FinishedError(UsageError):
    """The session to resume has finished (exit code 3)."""

    exit_code = 3


class TooLargeError(UsageError):
    """Something asked for does not fit into this machine's memory."""


class CheckpointError(UsageError):
    """A checkpoint is missing, incomplete or altered: an older one may do."""


class UnreadableError(UsageError):
    """A file cannot be read for a reason that is not its content, such as permissions: nothing may take its place."""


class SessionError(UsageError):
    """A file of a session is missing, broken, or not what digideep writes: one line that names it."""


class WorkerError(RuntimeError):
    """A worker environment raised, died or hung."""


class NonFiniteError(ArithmeticError):
    """An observation, a reward or a loss is NaN or infinite."""


class StoppedError(RuntimeError):
    """Whole episodes were cut off, since the run is to stop."""


class Interruption(BaseException):
    """A signal ends the program at once. No `except Exception` of anybody's may hold it up.

    Args:
        message: what that means for the user.
        exit_code: of the program.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code
