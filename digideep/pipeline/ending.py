"""End the process, whatever the user's code has left behind in it.

Imports little: it is there before torch is.
"""

import atexit
import contextlib
import os
import sys
import threading
import time

_THREADS_S, _HANDLERS_S = 5.0, 15.0  # for threads, and for exit handlers, to end


def watch_the_end(exit_code: int) -> None:
    """Make sure that the process ends, with this exit code, after `sys.exit`, even if something in it does not.

    Python waits for all threads that are no daemons, then for all exit handlers; either can be an environment's, and
    take forever. Where threads linger, exit handlers run beside them.
    """
    has_no_threads = threading.Event()
    atexit.register(has_no_threads.set)  # the last one is called first

    def watch() -> None:
        if not has_no_threads.wait(_THREADS_S):
            names = [each.name for each in threading.enumerate() if not each.daemon and each is not main_thread]
            names[3:] = [f"{len(names) - 3} more"] if len(names) > 3 else []
            _say(f"code of yours left {', '.join(names)} running, which is not waited for any longer.")
            handlers = threading.Thread(target=_run_exit_handlers, daemon=True)
            handlers.start()
            handlers.join(_HANDLERS_S)
        else:
            time.sleep(_HANDLERS_S)  # the process ends meanwhile, and this thread with it
            _say("an exit handler of yours does not end, and is not waited for any longer.")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(exit_code)

    main_thread = threading.main_thread()
    threading.Thread(target=watch, daemon=True, name="digideep-end").start()


def _run_exit_handlers() -> None:
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()


def _say(text: str) -> None:
    with contextlib.suppress(Exception):
        print(f"digideep: {text}", file=sys.stderr)
