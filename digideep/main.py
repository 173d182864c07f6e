"""The entry point: Session -> Runner -> train, play or a custom job. The one place that gives exit codes."""

import importlib
import os
import sys
import traceback
from typing import Any, NoReturn

from digideep.pipeline.ending import watch_the_end
from digideep.pipeline.stop_signals import StopSignals
from digideep.pipeline.tools import TOOLS
from digideep.utility.errors import Interruption, UsageError
from digideep.utility.text import one_line
from digideep.utility.user_code import end_forked_child, in_words


def main(argv: list[str] | None = None) -> int:
    """Run the program. Args: argv: without its name; None takes the process's own. Returns: the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in TOOLS:
        from digideep.utility.importing import find_in_working_directory

        find_in_working_directory()  # as `python -m` does: components of the user's own may be named
        tool = importlib.import_module(TOOLS[words[0]][0])
        code: int = getattr(tool, "cli", tool.main)(words[1:])
        return code
    signals = StopSignals()
    signals.install()
    code = 0
    try:
        code = _run(argv, signals)
    except Interruption as err:
        if is_first_rank():
            print(f"digideep: {err}", file=sys.stderr)
        code = err.exit_code
    finally:
        signals.settle(code)
        if argv is None:
            signals.ignore_at_exit()
        else:
            signals.restore()
    return code


def _run(argv: list[str] | None, signals: StopSignals) -> int:
    from digideep.pipeline.arguments import parse_arguments
    from digideep.telemetry.output import tolerate_encodings

    tolerate_encodings()
    session: Any = None
    args, has_begun, pid = None, False, os.getpid()
    try:
        try:
            args = parse_arguments(argv)
            # Imported here and not above: worker processes import the main module again, and need none of it.
            from digideep.pipeline.frozen import play_frozen
            from digideep.pipeline.restoring import make_runner
            from digideep.pipeline.session import Session
            from digideep.pipeline.verify import verify_resume
            from digideep.utility.process_state import left_as_it_was

            signals.release()
            if args.verify_resume is not None:
                return verify_resume(args)
            if args.frozen:
                return play_frozen(args, sys.argv[1:] if argv is None else argv)
            with left_as_it_was():
                session = Session(args, signals)
                runner = make_runner(session)
                if os.getpid() != pid:
                    end_forked_child()
                try:
                    signals.hold()
                    has_begun = True
                    session.open(runner)
                    return runner.start()
                finally:
                    runner.close()
        except BaseException as err:
            if os.getpid() != pid:
                end_forked_child(err)
            raise
    except UsageError as err:
        if session is not None:
            session.watch.fail(err)
        if not err.is_said and (args is not None or is_first_here()):
            print(f"digideep: {one_line(str(err))}", file=sys.stderr)
        return err.exit_code
    except Exception as err:
        lost = None if session is None else session.watch.explain(err)
        if lost is not None:
            session.report_failure(lost)
            if is_first_rank():
                print(f"digideep: {lost}", file=sys.stderr)
            return 1
        if signals.reason is not None and not has_begun:  # an import may turn the interruption into an error of its own
            signals.interrupt()
        if has_begun and session.path is not None and not session.path.exists():
            print(f"digideep: the session {session.path} has been removed while it ran.", file=sys.stderr)
            return 1
        from digideep.environment.contract import NotAsDeclared

        is_reported = session is not None and session.report_failure(traceback.format_exc())
        if not is_reported and not isinstance(err.__cause__, NotAsDeclared):  # the last line says all of it
            traceback.print_exc()
        text = f"{type(err).__name__}: {one_line(str(err))}"
        if session is not None:
            session.watch.fail(text)
            text = session.ranks.prefix + text
        print(f"digideep: {text}", file=sys.stderr)
        return 1
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as err:
        if args is None:  # --help
            raise
        if session is not None:
            session.report_failure(traceback.format_exc())
        print(f"digideep: code of yours {in_words(err)}.", file=sys.stderr)
        return 1 if has_begun else 2
    finally:
        if session is not None:
            session.close()


def is_first_rank() -> bool:
    """True unless torchrun has started this process beside a first one, which talks to people."""
    return os.environ.get("RANK", "0") == "0"


def is_first_here() -> bool:
    """True unless torchrun has started this process on the same machine, with the same command line, as another one."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def cli() -> NoReturn:
    """The program as a process of its own, which ends with the exit code of `main`."""
    code = main()
    watch_the_end(code)
    sys.exit(code)


if __name__ == "__main__":
    cli()
