"""Whether a request may begin, and waiting until it may: so many at once, so many waiting, the rest are sent away."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from server.limits.fair import FairQueue, Place

ShedReason = Literal["full", "late", "draining"]
MOST_RETRY_S = 60
LEARNED_BY = 0.1  # how much of the newest request's duration goes into the mean


class Shed(Exception):
    """A request was sent away before it was begun; when to try again, in seconds."""

    def __init__(self, reason: ShedReason, retry_after_s: int) -> None:
        super().__init__(reason)
        self.reason: ShedReason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class LineRules:
    """How many requests may be under way, how many may wait for that, and for how many seconds."""

    at_once: int
    waiting: int
    wait_s: float


class LineCounting(Protocol):
    """Is told how long requests waited, and which were sent away."""

    def waited(self, seconds: float) -> None:
        """A request was begun after so long."""
        ...

    def shed(self, reason: ShedReason) -> None:
        """One was sent away."""
        ...


class Line:
    """Of one cascade. Every request that `begins` or has `waited` must be `over` once."""

    def __init__(self, rules: LineRules, counting: LineCounting, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._counting = counting
        self._clock = clock
        self._queue = FairQueue()
        self._turns: dict[Place, asyncio.Future[None]] = {}
        self._running = 0
        self._mean_s = 1.0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._turns)

    @property
    def running(self) -> int:
        """How many are under way."""
        return self._running

    def begins(self) -> bool:
        """Whether a request may begin without waiting: then it has."""
        if self._turns or self._running >= self._rules.at_once:
            return False
        self._running += 1
        self._counting.waited(0.0)
        return True

    async def wait(self, place: Place, within_s: float) -> float:
        """Wait for the turn; how many seconds that took. Raises Shed. Cancelling it leaves the queue."""
        if self.begins():
            return 0.0
        began_s = self._clock()
        self._queue.arrive(place)
        self._make_room(place)
        turn = self._turns[place] = asyncio.get_running_loop().create_future()
        self._queue.join(place)
        try:
            async with asyncio.timeout(max(0.0, min(within_s, self._rules.wait_s))):
                await turn
        except TimeoutError:
            if not has_come(turn):
                self._leave(place)
                raise self._shed("late") from None
        except asyncio.CancelledError:
            if has_come(turn):
                self.over(None)
            else:
                self._leave(place)
            raise
        waited_s = self._clock() - began_s
        self._counting.waited(waited_s)
        return waited_s

    def over(self, seconds: float | None) -> None:
        """A request is over, after so many seconds of being under way; None where it never was."""
        if seconds is not None:
            self._mean_s += LEARNED_BY * (seconds - self._mean_s)
        self._running -= 1
        while self._turns and self._running < self._rules.at_once:
            turn = self._turns.pop(self._queue.serve())
            if not turn.done():  # it is about to leave
                self._running += 1
                turn.set_result(None)

    def close(self) -> None:
        """Send away all who wait, now and later: the gateway ends."""
        self._closed = True
        for place in list(self._turns):
            self._send_away(place, "draining")

    def _make_room(self, newcomer: Place) -> None:
        if self._closed:
            raise self._shed("draining")
        if len(self._turns) < self._rules.waiting:
            return
        spared = self._queue.spare(newcomer)
        if spared is newcomer:
            raise self._shed("full")
        self._send_away(spared, "full")

    def _send_away(self, place: Place, reason: ShedReason) -> None:
        self._queue.leave(place)
        turn = self._turns.pop(place)
        if not turn.done():  # it is about to leave
            turn.set_exception(self._shed(reason))

    def _leave(self, place: Place) -> None:
        if self._turns.pop(place, None) is not None:
            self._queue.leave(place)

    def _shed(self, reason: ShedReason) -> Shed:
        self._counting.shed(reason)
        if reason == "draining":
            return Shed(reason, 1)
        ahead_s = (len(self._turns) + 1) * self._mean_s / self._rules.at_once
        return Shed(reason, min(MOST_RETRY_S, max(1, math.ceil(ahead_s))))


def has_come(turn: asyncio.Future[None]) -> bool:
    """Whether it came, though nobody waits for it any more."""
    return turn.done() and not turn.cancelled() and turn.exception() is None
