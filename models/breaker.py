"""Whether a server may be asked: not while it fails, and then one request at first. Knows nothing of servers."""

import time
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

BreakerState = Literal["closed", "open", "half-open"]

OPENS_AFTER = 3
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Ticket(Struct, frozen=True):
    """What a request is let through with. Of those from before the breaker last opened none says anything any more."""

    generation: int
    is_trial: bool


class Breaker:
    """Opens after three failures in a row, for a pause that doubles; then half-open: one request is let through, and
    decides. `now_s` is a monotonic clock."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._failures = 0
        self._pause_s = 0.0
        self._open_until_s = 0.0
        self._generation = 0
        self._lost = False
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """What it is at this moment."""
        if not self._pause_s:
            return "closed"
        return "open" if self._now_s() < self._open_until_s else "half-open"

    @property
    def lets_through(self) -> bool:
        """Whether a request may be sent."""
        return self.state == "closed" or (self.state == "half-open" and not self._trying)

    def sent(self) -> Ticket:
        """A request is on its way."""
        is_trial = self.state == "half-open"
        self._trying = self._trying or is_trial
        return Ticket(self._generation, is_trial)

    def succeeded(self, ticket: Ticket) -> None:
        """The server did what it was asked for, or had no part in the failure: what went before is forgotten."""
        if ticket.generation == self._generation:
            self._failures, self._pause_s, self._trying = 0, 0.0, False

    def failed(self, ticket: Ticket, *, lost: bool) -> None:
        """The server failed; `lost`: it could not even be reached."""
        if ticket.generation == self._generation:
            self._fail(lost=lost)

    def given_up(self, ticket: Ticket) -> None:
        """A request ended that says nothing of the server: its client left, for example."""
        if ticket.is_trial and ticket.generation == self._generation:
            self._trying = False

    def found_lost(self) -> None:
        """A probe could not reach the server."""
        self._fail(lost=True)

    def found_alive(self) -> None:
        """The server answers a probe: one that could not be reached is tried by that, and opens at the next failure."""
        if self._lost:
            self._pause_s, self._lost, self._trying = 0.0, False, False
            self._failures = min(self._failures, OPENS_AFTER - 1)

    def _fail(self, *, lost: bool) -> None:
        self._failures += 1
        self._lost = lost
        self._trying = False
        if self._pause_s or self._failures >= OPENS_AFTER:
            self._generation += 1
            self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
            self._open_until_s = self._now_s() + self._pause_s
