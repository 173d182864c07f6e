"""The pipe between an Explorer and one of its worker processes."""

import os
import select
import time
from multiprocessing.connection import Connection
from typing import Any


class SignalPipe:
    """One end of a pipe: signals of one byte, and messages where there is more to say.

    `Connection` frames each message and makes a selector for each wait, which costs as much again as the pipe does.
    Only on Windows, where a pipe is no file, signals are messages of one byte.

    Args:
        connection: this end of a `multiprocessing.Pipe`; closing it is the owner's.
    """

    def __init__(self, connection: "Connection[Any, Any]"):
        self.connection = connection
        self._is_file = os.name != "nt"
        if self._is_file:
            self._poll = select.poll()
            self._poll.register(connection.fileno(), select.POLLIN)

    def send(self, signal: bytes, *message: Any) -> None:
        """Send one byte, and what belongs to it.

        Raises:
            OSError: if the other end is closed.
        """
        if self._is_file:
            os.write(self.connection.fileno(), signal)
        else:
            self.connection.send_bytes(signal)
        if message:
            self.connection.send(message)

    def wait(self, timeout_s: float) -> bool:
        """True if there is something to receive, or the other end is closed, within that time."""
        return bool(self._poll.poll(timeout_s * 1000)) if self._is_file else self.connection.poll(timeout_s)

    def linger(self, time_s: float) -> None:
        """Wait for a signal without going to sleep, yielding to other processes."""
        if self._is_file:
            end = time.perf_counter() + time_s
            while not self._poll.poll(0) and time.perf_counter() < end:
                os.sched_yield()

    def receive(self) -> bytes:
        """Wait for one byte; `receive_message` gets what belongs to it.

        Raises:
            EOFError: if the other end is closed.
            OSError: likewise, while something was under way.
        """
        signal = os.read(self.connection.fileno(), 1) if self._is_file else self.connection.recv_bytes()
        if not signal:
            raise EOFError
        return signal

    def receive_message(self) -> tuple[Any, ...]:
        """Return what was sent with the signal."""
        return self.connection.recv()
