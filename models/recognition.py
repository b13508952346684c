"""Whether a server is still what it was: when it is to be asked again, and when another answer is believed. Knows
nothing of how it is asked.

One other answer may be a tie that was broken otherwise, as the other requests in the engine's batch have it; so it is
believed when it comes again. What cannot be found out is no change.
"""

import time
from collections.abc import Callable

EVERY_S = 60.0  # costs a server one prompt of 40 tokens and 6 of an answer
SOONEST_S = 5.0  # however often it gives reason to doubt
AGAIN_S = 10.0  # where it did not say
BELIEVED_AT = 2


class Recognition:
    """Of one server. `now_s` is a monotonic clock."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._taken_s: float | None = None
        self._due_s = 0.0
        self._other: str | None = None
        self._seen = 0

    @property
    def age_s(self) -> float | None:
        """Seconds since its fingerprint was last taken; None where it never was."""
        return None if self._taken_s is None else self._now_s() - self._taken_s

    @property
    def is_due(self) -> bool:
        """Whether it is to be asked now."""
        return self._now_s() >= self._due_s

    def doubted(self) -> None:
        """It may have become another: it was away, or lists other models."""
        soonest_s = 0.0 if self._taken_s is None else self._taken_s + SOONEST_S
        self._due_s = min(self._due_s, max(self._now_s(), soonest_s))

    def asked(self) -> None:
        """It is asked; as long as it does not say, it is left alone for a while."""
        self._due_s = max(self._due_s, self._now_s() + AGAIN_S)

    def found(self, fingerprint: str, known: str | None) -> bool:
        """It was asked, and its fingerprint is this one, where another may be known. Whether it is to be believed."""
        self._taken_s = self._now_s()
        if known is None or fingerprint == known:
            self._settle()
            return True
        self._seen = self._seen + 1 if fingerprint == self._other else 1
        self._other = fingerprint
        if self._seen < BELIEVED_AT:
            self._due_s = self._now_s()
            return False
        self._settle()
        return True

    def _settle(self) -> None:
        self._other, self._seen = None, 0
        self._due_s = self._now_s() + EVERY_S
