"""The gateway's first process: it starts the workers that answer, starts those again that die, and replaces all of them
when the configuration changes. It answers nothing itself, so it has no event loop and no thread, and can be copied at
any time."""

import selectors
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from server.settings.reading import SettingsError
from server.settings.schema import Settings
from server.workers.link import Gone, Link, Word
from server.workers.metrics import ParentMetrics
from server.workers.pulse import Pulse
from server.workers.round import Rounds
from server.workers.signals import Signals
from server.workers.timers import Timers
from server.workers.totals import FAMILIES
from server.workers.worker import NOT_STARTED, Generation, Worker, forked

START_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
STEADY_S = 60.0
MOST_STARTS = 5
GRACE_S = 30.0  # beyond what a worker gives itself

Read = Callable[[], Settings]
Work = Callable[[Settings, int, Link, bytes], int]

log = structlog.get_logger()


class Parent:
    """Of workers that each do `work`, with what the one before them had learned, by settings that `read` reads again on
    SIGHUP, or raises SettingsError. `close` is called when no more will be started."""

    def __init__(self, settings: Settings, *, read: Read, work: Work, close: Callable[[], None]) -> None:
        self._read = read
        self._work = work
        self._close = close
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()
        self._timers = Timers()
        self._metrics = ParentMetrics()
        self._rounds = Rounds(self._timers, self._metrics.registry)
        self._workers: list[Worker] = []
        self._pulse = Pulse(self._timers, self._workers, start_s=START_S, kill=self._kill_one)
        self._serving: Generation | None = None
        self._coming: Generation | None = Generation(settings)
        self._learned: dict[int, bytes] = {}
        self._is_due = False
        self._ends: Word | None = None
        self._code = 0
        self._pause_s = FIRST_PAUSE_S
        self._failed_starts = 0

    def run(self) -> int:
        """Until all have ended: after SIGTERM or SIGINT, or because they do not start. The exit code, or minus the
        signal that was asked to end it."""
        with self._signals.caught(), self._selector:
            self._selector.register(self._signals.fileno(), selectors.EVENT_READ)
            if self._coming is not None:
                self._start_all(self._coming)
            self._pulse.look()
            while self._workers or self._ends is None:
                self._turn()
        return self._code

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._timers.next_in_s):
            if isinstance(key.data, Worker):
                self._hear(key.data)
        for number in self._signals.come():
            self._signalled(number)
        self._timers.run_due()
        for worker in self._workers:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.link.is_behind else 0)
            self._selector.modify(worker.link.fileno(), wanted, worker)

    # What comes

    def _signalled(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and not self._signals.has_hung_up:
            self._reload()
            return
        if self._ends is None:
            self._code = 0 if number == signal.SIGINT else -number
            self._end(Word.LEAVE if number == signal.SIGTERM else Word.CLOSE)
        elif self._ends == Word.CLOSE and number == signal.SIGINT:
            self._end(Word.FORCE)
        elif self._ends == Word.LEAVE:
            self._end(Word.CLOSE)

    def _hear(self, worker: Worker) -> None:
        worker.link.flush()
        try:
            words = worker.link.heard()
        except Gone:
            self._gone(worker)
            return
        worker.missed = 0
        for word, said in words:
            match word:
                case Word.READY:
                    self._is_ready(worker)
                case Word.LEARNED if worker.generation is self._serving:
                    self._learned[worker.place] = said
                case Word.ASKED:
                    self._rounds.asked(worker, self._workers)
                case Word.TOLD:
                    self._rounds.told(worker, FAMILIES.validate_json(said), self._workers)
                case _:
                    pass

    # A generation's course

    def _start_all(self, generation: Generation) -> None:
        for place in generation.places:
            self._start(generation, place)
        self._timers.after(START_S, lambda: self._is_late(generation))

    def _start(self, generation: Generation, place: int) -> None:
        learned = self._learned.get(place % max(1, len(self._learned)), b"")
        work = partial(self._work, generation.settings, place)
        worker = forked(generation, place, lambda link: work(link, learned), self._let_go)
        self._workers.append(worker)
        self._selector.register(worker.link.fileno(), selectors.EVENT_READ, worker)

    def _is_ready(self, worker: Worker) -> None:
        worker.ready_s = time.monotonic()
        self._failed_starts = 0
        if self._ends is not None:
            worker.end(self._ends)
        elif worker.retires:
            worker.end(Word.RETIRE)
        elif worker.generation is self._coming and self._are_all_ready(self._coming):
            self._take_over(self._coming)

    def _are_all_ready(self, generation: Generation) -> bool:
        ready = [one for one in self._workers if one.generation is generation and one.is_ready]
        return len(ready) == len(generation.places)

    def _take_over(self, generation: Generation) -> None:
        before, self._serving, self._coming = self._serving, generation, None
        self._learned = {place: said for place, said in self._learned.items() if place in generation.places}
        self._pause_s = FIRST_PAUSE_S
        log.info("the gateway answers", workers=len(generation.places), reloaded=before is not None)
        if before is not None:
            self._metrics.reloaded("done")
            self._retire(before)
        self._reload_if_due()

    def _retire(self, generation: Generation) -> None:
        server = generation.settings.server
        old = [one for one in self._workers if one.generation is generation]
        for worker in old:
            worker.retires = True
            worker.end(Word.RETIRE)
        self._timers.after(server.deadline_s + server.shutdown_s + GRACE_S, lambda: self._kill(old))

    def _is_late(self, generation: Generation) -> None:
        if generation is self._coming:
            self._cannot_come(generation, f"not ready after {START_S:g} s")

    def _cannot_come(self, generation: Generation, why: str) -> None:
        """Those of it that answer already may have requests."""
        self._coming = None
        if self._serving is None:
            self._give_up(why)
            return
        log.error("configuration not reloaded: the workers do not start; all is as before", cause=why)
        self._metrics.reloaded("not-started")
        self._retire(generation)
        self._reload_if_due()

    # A worker's end

    def _gone(self, worker: Worker) -> None:
        self._selector.unregister(worker.link.fileno())
        self._workers.remove(worker)
        self._rounds.ended(worker, self._workers)
        code = worker.ended()
        if self._ends is not None or worker.retires:
            return
        self._metrics.died()
        if worker.generation is self._coming:
            self._cannot_come(worker.generation, f"a worker ended with {code}")
        elif worker.generation is self._serving:
            self._start_again(worker, code)

    def _start_again(self, worker: Worker, code: int) -> None:
        self._failed_starts += not worker.is_ready
        if self._failed_starts >= MOST_STARTS and not any(one.is_ready for one in self._workers):
            self._give_up(f"a worker ended with {code}")
            return
        if worker.lived_s > STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        log.error("a worker ended", pid=worker.pid, code=code, restart_in_s=self._pause_s)
        generation, place = worker.generation, worker.place
        self._timers.after(self._pause_s, lambda: self._start_in_turn(generation, place))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _start_in_turn(self, generation: Generation, place: int) -> None:
        """Unless there is another generation now."""
        if self._ends is None and generation is self._serving:
            self._start(generation, place)

    # Changes

    def _reload(self) -> None:
        if self._ends is not None:
            return
        if self._coming is not None:
            self._is_due = True
            return
        try:
            settings = self._read()
        except SettingsError as wrong:
            self._metrics.reloaded("wrong")
            for mistake in wrong.mistakes:
                log.error("configuration not reloaded; all is as before", mistake=mistake)
            return
        except Exception:  # the gateway must not end because of a file
            self._metrics.reloaded("wrong")
            log.exception("configuration not reloaded; all is as before")
            return
        self._coming = Generation(settings)
        log.info("configuration read again", workers=settings.server.workers)
        self._start_all(self._coming)

    def _reload_if_due(self) -> None:
        is_due, self._is_due = self._is_due, False
        if is_due:
            self._reload()

    def _give_up(self, why: str) -> None:
        log.error("the gateway cannot start", cause=why)
        self._code = NOT_STARTED
        self._end(Word.CLOSE)

    def _end(self, how: Word) -> None:
        self._ends, self._coming = how, None
        self._close()  # else who comes when all workers have closed the door would wait behind it
        for worker in self._workers:
            worker.end(how)
        if self._serving is not None:
            server = self._serving.settings.server
            self._timers.after(server.drain_s + server.shutdown_s + GRACE_S, lambda: self._kill(self._workers))

    def _kill(self, late: Sequence[Worker]) -> None:
        for worker in late:
            if worker in self._workers:
                log.error("a worker did not end in time", pid=worker.pid)
                self._kill_one(worker)

    def _kill_one(self, worker: Worker) -> None:
        if worker in self._workers:
            worker.signal(signal.SIGKILL)

    def _let_go(self) -> None:
        """In a new worker: what is its parent's."""
        self._selector.close()
        self._signals.close()
        for worker in self._workers:
            worker.link.close()
