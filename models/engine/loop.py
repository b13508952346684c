"""The thread that owns the model: lets rows in, and moves all of them on by a token at a time."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import torch
from structlog.typing import FilteringBoundLogger
from torch import Tensor

from models.engine.batch import Batch
from models.engine.errors import EngineError, StepFailed
from models.engine.generation import Delta
from models.engine.metrics import Meter
from models.engine.network import Network
from models.engine.row import Row
from models.engine.sampler import choose, score

News: TypeAlias = Sequence[tuple[Row, Delta | EngineError]]

# Padded prompt tokens read in one forward pass, unless one prompt alone is longer.
_PREFILL_TOKENS: Final = 4096


class StepLoop:
    """Sleeps while there is no row. `deliver` is called from the loop's own thread."""

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
        self._rows: list[Row] = []
        self._batch = Batch(network)
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
        return len(self._arriving) + len(self._rows)

    def _count_waiting(self) -> float:
        return len(self._waiting) + self._inbox.qsize()

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._stopping:
                self._receive()
                self._drop_abandoned()
                self._admit()
                self._advance()

    def _receive(self) -> None:
        wait = not self._rows and not self._waiting
        with contextlib.suppress(queue.Empty):
            while True:
                row = self._inbox.get(block=wait)
                wait = False
                if row is not None:
                    self._waiting.append(row)

    def _drop_abandoned(self) -> None:
        self._waiting = deque(row for row in self._waiting if not row.abandoned)
        self._keep([at for at, row in enumerate(self._rows) if not row.abandoned])

    def _admit(self) -> None:
        self._arriving = self._next_rows()
        if self._arriving:
            with self._failing(self._arriving):
                self._prefill(self._arriving)
            self._arriving = []

    def _prefill(self, arriving: Sequence[Row]) -> None:
        batch = Batch(self._network)
        logits = batch.prefill([row.generation.prompt for row in arriving])
        self._meter.prefilled(sum(len(row.generation.prompt) for row in arriving))
        deltas = _write(arriving, logits)
        staying = _unfinished(deltas)
        batch.keep(staying)
        self._batch.join(batch)
        self._rows += [arriving[at] for at in staying]
        self._arriving = []
        self._tell(arriving, deltas)

    def _advance(self) -> None:
        rows = self._rows
        if not rows:
            return
        with self._failing(rows):
            logits = self._batch.advance([row.tokens[-1] for row in rows])
            deltas = _write(rows, logits)
            self._keep(_unfinished(deltas))
            self._tell(rows, deltas)

    def _next_rows(self) -> list[Row]:
        """The rows that come in next: first come, first served, as many as have a place."""
        rows: list[Row] = []
        longest = 0
        while self._waiting and len(self._rows) + len(rows) < self._max_batch:
            longest = max(longest, len(self._waiting[0].generation.prompt))
            if rows and longest * (len(rows) + 1) > _PREFILL_TOKENS:
                break
            rows.append(self._waiting.popleft())
        return rows

    def _tell(self, rows: Sequence[Row], deltas: Sequence[Delta]) -> None:
        """Last of all in a step, so that who hears of the end of an answer finds its place free."""
        self._meter.wrote(len(deltas))
        for delta in deltas:
            if delta.finish is not None:
                self._meter.finished(delta.finish)
        self._deliver(list(zip(rows, deltas, strict=True)))

    def _keep(self, staying: Sequence[int]) -> None:
        self._batch.keep(staying)
        self._rows = [self._rows[at] for at in staying]

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


def _write(rows: Sequence[Row], logits: Tensor) -> list[Delta]:
    """Give each row its next token."""
    rules = [row.generation.sampling for row in rows]
    tokens = choose(logits, rules, [row.generator for row in rows])
    scores = score(logits, tokens, [row.generation.top_logprobs for row in rows])
    return [row.take(token, scored) for row, token, scored in zip(rows, tokens, scores, strict=True)]


def _unfinished(deltas: Sequence[Delta]) -> list[int]:
    return [at for at, delta in enumerate(deltas) if delta.finish is None]
