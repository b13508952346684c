"""How long a stream may keep its reader waiting, without a timer for each of its pieces."""

from collections.abc import Callable
from typing import Protocol


class Source(Protocol):
    """What is read from: whoever reads from it, or waits to, gets the error that it was given."""

    def set_exception(self, exc: BaseException) -> None:
        """The error."""
        ...


class Timer(Protocol):
    """What will be done at some time."""

    def cancel(self) -> None:
        """Or will not."""
        ...


class Timers(Protocol):
    """What an event loop knows of time, in seconds."""

    def time(self) -> float:
        """Now."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Do something then."""
        ...


class Lateness:
    """Gives the source a TimeoutError where its reader waits for more than `idle_s` seconds; for the first piece,
    beyond `first_by_s`; and in any case at `total_by_s` (both in the loop's time). The reader waits for the first piece
    from the beginning on; when all is read, this is to be closed.

    Its one timer looks after every `idle_s` seconds: no wait that begins after a look ends before the next one.
    """

    def __init__(self, source: Source, timers: Timers, *, idle_s: float, first_by_s: float, total_by_s: float) -> None:
        self._source = source
        self._timers = timers
        self._idle_s = idle_s
        self._first_by_s = first_by_s
        self._total_by_s = total_by_s
        self._due_s: float | None = first_by_s
        self._timer = self._next_look()

    def waits(self, *, begun: bool) -> None:
        """The reader waits from now on, for the first piece or for another one."""
        self._due_s = self._timers.time() + self._idle_s if begun else self._first_by_s

    def came(self) -> None:
        """It no longer does."""
        self._due_s = None

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        now_s = self._timers.time()
        if now_s >= self._total_by_s or (self._due_s is not None and now_s >= self._due_s):
            self._source.set_exception(TimeoutError("the stream kept its reader waiting for too long"))
        else:
            self._timer = self._next_look()

    def _next_look(self) -> Timer:
        latest_s = min(self._total_by_s, self._timers.time() + self._idle_s)
        return self._timers.call_at(latest_s if self._due_s is None else min(latest_s, self._due_s), self._look)
