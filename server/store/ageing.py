"""The time that records age by. A clock that is set forward by mistake must not have all of them deleted at once."""

import time
from collections.abc import Callable

import structlog

SLACK_S = 3600.0
BELIEVED_S = 86400.0

log = structlog.get_logger()


class Ageing:
    """The time of day; where that has run ahead of a clock that nobody sets, the time by that one, for a day: then the
    time of day is believed. A machine that slept has not seen that time pass either."""

    def __init__(
        self, *, now_s: Callable[[], float] = time.time, clock_s: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._now_s = now_s
        self._clock_s = clock_s
        self._between_s = now_s() - clock_s()
        self._ahead_since_s: float | None = None

    def now(self) -> float:
        """In Unix seconds."""
        now_s, clock_s = self._now_s(), self._clock_s()
        steady_s = clock_s + self._between_s
        if now_s <= steady_s + SLACK_S:
            self._ahead_since_s = None
            return now_s
        if self._ahead_since_s is None:
            log.warning("the clock was set forward: what is kept does not age for a day", by_s=now_s - steady_s)
            self._ahead_since_s = clock_s
        if clock_s - self._ahead_since_s >= BELIEVED_S:
            self._between_s = now_s - clock_s
        return steady_s
