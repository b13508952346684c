"""The thread that owns the model: lets rows in, and moves all of them on a step at a time."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import torch
from structlog.typing import FilteringBoundLogger

from models.engine.errors import EngineError, StepFailed
from models.engine.generation import Delta
from models.engine.lane import Lane
from models.engine.metrics import Meter
from models.engine.network import Network
from models.engine.row import Row

News: TypeAlias = Sequence[tuple[Row, Delta | EngineError]]

# Padded prompt tokens read in one forward pass, unless one prompt alone is longer.
_PREFILL_TOKENS: Final = 4096


class StepLoop:
    """Sleeps while there is no row. `deliver` is called from the loop's own thread.

    Rows that verify draft tokens advance apart from those that do not, whose steps are so much shorter.
    """

    def __init__(
        self,
        network: Network,
        meter: Meter,
        log: FilteringBoundLogger,
        *,
        max_batch: int,
        deliver: Callable[[News], None],
    ) -> None:
        self._network = network
        self._meter = meter
        self._log = log
        self._max_batch = max_batch
        self._deliver = deliver
        self._inbox: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._arriving: list[Row] = []
        self._plain = Lane(network)
        self._verifying = Lane(network)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="step-loop", daemon=True)
        meter.watch(running=self._count_running, waiting=self._count_waiting)

    def start(self) -> None:
        """Begin to serve rows."""
        self._thread.start()

    def submit(self, row: Row) -> None:
        """Put a row in line; safe from any thread."""
        self._inbox.put(row)

    def stop(self) -> None:
        """Stop after the running step."""
        self._stopping = True
        self._inbox.put(None)

    def join(self, *, timeout_s: float) -> bool:
        """Wait for the thread's end; whether it came in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether rows are still served."""
        return self._thread.is_alive()

    def _count_running(self) -> float:
        return len(self._arriving) + self._admitted()

    def _count_waiting(self) -> float:
        return len(self._waiting) + self._inbox.qsize()

    def _admitted(self) -> int:
        return len(self._plain.rows) + len(self._verifying.rows)

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._stopping:
                self._receive()
                self._drop_abandoned()
                self._admit()
                self._advance(self._plain)
                self._advance(self._verifying)

    def _receive(self) -> None:
        wait = not self._admitted() and not self._waiting
        with contextlib.suppress(queue.Empty):
            while True:
                row = self._inbox.get(block=wait)
                wait = False
                if row is not None:
                    self._waiting.append(row)

    def _drop_abandoned(self) -> None:
        self._waiting = deque(row for row in self._waiting if not row.abandoned)
        for lane in (self._plain, self._verifying):
            lane.keep([at for at, row in enumerate(lane.rows) if not row.abandoned])

    def _admit(self) -> None:
        self._arriving = self._next_rows()
        if self._arriving:
            with self._failing(self._arriving):
                self._prefill(self._arriving)
            self._arriving = []

    def _prefill(self, arriving: Sequence[Row]) -> None:
        lane = Lane(self._network)
        deltas = lane.prefill(arriving)
        self._meter.prefilled(sum(len(row.generation.prompt) for row in arriving))
        self._sort(lane)
        self._arriving = []
        self._tell(arriving, deltas)

    def _advance(self, lane: Lane) -> None:
        rows = list(lane.rows)
        if not rows:
            return
        with self._failing(rows):
            deltas = lane.advance()
            self._sort(lane)
            self._tell(rows, deltas)

    def _sort(self, lane: Lane) -> None:
        """Rows that propose tokens belong into one lane, the others into the other."""
        self._verifying.take(lane, [at for at, row in enumerate(lane.rows) if row.proposal])
        self._plain.take(lane, [at for at, row in enumerate(lane.rows) if not row.proposal])

    def _next_rows(self) -> list[Row]:
        """The rows that come in next: first come, first served, as many as have a place."""
        rows: list[Row] = []
        longest = 0
        while self._waiting and self._admitted() + len(rows) < self._max_batch:
            longest = max(longest, len(self._waiting[0].generation.prompt))
            if rows and longest * (len(rows) + 1) > _PREFILL_TOKENS:
                break
            rows.append(self._waiting.popleft())
        return rows

    def _tell(self, rows: Sequence[Row], deltas: Sequence[Delta]) -> None:
        """Last of all in a step, so that who hears of the end of an answer finds its place free."""
        self._meter.wrote(deltas)
        self._deliver(list(zip(rows, deltas, strict=True)))

    @contextlib.contextmanager
    def _failing(self, rows: Sequence[Row]) -> Iterator[None]:
        """Tell these rows when the model fails, drop them, and go on with the others."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the top of this thread
            self._log.exception("step failed", rows=len(rows))
            for row in rows:
                row.abandoned = True
            self._deliver([(row, StepFailed("the model failed on this request")) for row in rows])
