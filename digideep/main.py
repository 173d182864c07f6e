"""The entry point: Session -> Runner -> train, play or a custom job. The one place that gives exit codes."""

import sys
import traceback


def main(argv: list[str] | None = None) -> int:
    """Run the program. Args: argv: without its name; None takes the process's own. Returns: the exit code."""
    # Imported here and not above: worker processes import the main module again, and need none of it.
    from digideep.pipeline.arguments import parse_arguments
    from digideep.pipeline.frozen import play_frozen
    from digideep.pipeline.runner import make_runner
    from digideep.pipeline.session import Session
    from digideep.pipeline.verify import verify_resume
    from digideep.utility.errors import UsageError

    session = None
    try:
        args = parse_arguments(argv)
        if args.verify_resume is not None:
            return verify_resume(args)
        if args.frozen:
            return play_frozen(args, sys.argv[1:] if argv is None else argv)
        session = Session(args)
        runner = make_runner(session)
        session.open(runner)
        return runner.start()
    except UsageError as err:
        print(f"digideep: {err}", file=sys.stderr)
        return err.exit_code
    except KeyboardInterrupt:
        print("digideep: stopped at once; what came after the last checkpoint is lost.", file=sys.stderr)
        return 1
    except Exception as err:
        if session is None or not session.report_failure(traceback.format_exc()):
            traceback.print_exc()
        print(f"digideep: {type(err).__name__}: {err}", file=sys.stderr)
        return 1
    finally:
        if session is not None:
            session.close()


if __name__ == "__main__":
    sys.exit(main())
