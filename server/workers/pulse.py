"""Finds workers that hang. Each says once a second that its event loop turns, however busy it is.

The parent counts its own turns in which it heard nothing, not seconds: so none is blamed for a time in which the
parent, all processes or the whole machine stood still."""

from collections.abc import Callable, Sequence

import structlog

from server.workers.timers import Timers
from server.workers.worker import TELL_WHERE, Worker

BEAT_S = 1.0
WHERE_S = 1.0  # what telling where it hangs may take

log = structlog.get_logger()


class Pulse:
    """Of these workers. One that does not answer yet may take `start_s`."""

    def __init__(
        self, timers: Timers, workers: Sequence[Worker], *, start_s: float, kill: Callable[[Worker], None]
    ) -> None:
        self._timers = timers
        self._workers = workers
        self._start_s = start_s
        self._kill = kill

    def look(self) -> None:
        """Now, and again and again."""
        self._timers.after(BEAT_S, self.look)
        for worker in self._workers:
            if worker.missed == self._most_of(worker):
                self._give_up(worker)
            worker.missed += 1

    def _most_of(self, worker: Worker) -> int:
        return round((worker.generation.settings.server.hung_s if worker.is_ready else self._start_s) / BEAT_S)

    def _give_up(self, worker: Worker) -> None:
        log.error("a worker hangs", pid=worker.pid, silent_s=worker.missed * BEAT_S, answered=worker.is_ready)
        worker.signal(TELL_WHERE)
        self._timers.after(WHERE_S, lambda: self._kill(worker))
