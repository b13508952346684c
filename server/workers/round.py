"""Asks all workers for their metrics, and gives the sum to who asked. The sum never goes back: of who does not answer
in time, what it said before counts, and of who has ended, what it said last."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from server.workers.link import Word
from server.workers.timers import Timers
from server.workers.totals import FAMILIES, Families, added, families_of, lasting
from server.workers.worker import Worker

WITHIN_S = 2.0


class Rounds:
    """With what the parent counts itself, in `registry`. One after the other: who asks while one is under way is
    answered by the next, so that what happened before it asked is in the answer."""

    def __init__(self, timers: Timers, registry: CollectorRegistry) -> None:
        self._timers = timers
        self._registry = registry
        self._past: Families = ()
        self._askers: list[Worker] = []
        self._next_askers: list[Worker] = []
        self._awaited: set[int] = set()
        self._number = 0

    def asked(self, worker: Worker, workers: Sequence[Worker]) -> None:
        """A worker wants the sum."""
        self._next_askers.append(worker)
        if not self._askers:
            self._begin(workers)

    def told(self, worker: Worker, families: Families, workers: Sequence[Worker]) -> None:
        """A worker has said what it has."""
        worker.told = families
        self._heard_of(worker, workers)

    def ended(self, worker: Worker, workers: Sequence[Worker]) -> None:
        """A worker is no longer there."""
        self._past = added([self._past, lasting(worker.told)])
        self._next_askers = [one for one in self._next_askers if one is not worker]
        self._heard_of(worker, workers)

    def _begin(self, workers: Sequence[Worker]) -> None:
        self._askers, self._next_askers = self._next_askers, []
        asked = [worker for worker in workers if worker.is_ready]
        self._awaited = {worker.pid for worker in asked}
        self._number += 1
        number = self._number
        self._timers.after(WITHIN_S, lambda: self._late(number, workers))
        for worker in asked:
            worker.link.send(Word.TELL)

    def _heard_of(self, worker: Worker, workers: Sequence[Worker]) -> None:
        self._awaited.discard(worker.pid)
        if self._askers and not self._awaited:
            self._answer(workers)

    def _late(self, number: int, workers: Sequence[Worker]) -> None:
        if number == self._number and self._askers:
            self._answer(workers)

    def _answer(self, workers: Sequence[Worker]) -> None:
        said = FAMILIES.dump_json(
            added([*(worker.told for worker in workers), self._past, families_of(self._registry)])
        )
        for asker in self._askers:
            if asker in workers:
                asker.link.send(Word.TOTALS, said)
        self._askers = []
        self._awaited = set()
        if self._next_askers:
            self._begin(workers)
