"""What is to be done later, in a process without an event loop."""

import heapq
import time
from collections.abc import Callable
from itertools import count


class Timers:
    """By a monotonic clock."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it when so long has passed."""
        heapq.heappush(self._due, (self._clock_s() + seconds, next(self._number), act))

    @property
    def next_in_s(self) -> float | None:
        """Until the next is due; None where nothing ever is."""
        return max(0.0, self._due[0][0] - self._clock_s()) if self._due else None

    def run_due(self) -> None:
        """Do all that is due."""
        while self._due and self._due[0][0] <= self._clock_s():
            heapq.heappop(self._due)[2]()
