"""Signals to the gateway, as something to wait for."""

import contextlib
import os
import signal
import socket
import sys
import termios
from collections.abc import Iterator
from types import FrameType

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Those that the gateway knows; `fileno` can be read when one has come."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._has_terminal = sys.stderr.isatty()

    def fileno(self) -> int:
        """For selectors."""
        return self._reading.fileno()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Within the block they do nothing but come."""
        before = {number: signal.signal(number, nothing) for number in CAUGHT}
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, was in before.items():
                signal.signal(number, was)
            self.close()

    def come(self) -> list[signal.Signals]:
        """Those that have come since."""
        with contextlib.suppress(BlockingIOError):
            return [signal.Signals(number) for number in self._reading.recv(4096) if number in CAUGHT]
        return []

    @property
    def has_hung_up(self) -> bool:
        """Whether the terminal that the gateway was started in is closed: SIGHUP then means what it meant at first."""
        return self._has_terminal and not has_terminal(sys.stderr.fileno())

    def close(self) -> None:
        """Let go of it."""
        self._reading.close()
        self._writing.close()


def nothing(_number: int, _frame: FrameType | None) -> None:
    """It is read where it is waited for."""


def has_terminal(descriptor: int) -> bool:
    """Whether there is one at its other end."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return False
    return os.isatty(descriptor)
