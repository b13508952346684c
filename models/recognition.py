"""Whether a server is still what it was: when it is to be asked again, and when it is believed to be another. Knows
nothing of how it is asked.

Another look is believed when it comes again; one that only parts from the known one at a tie is no other at all. What
cannot be found out is no change.
"""

import time
from collections.abc import Callable

from models.likeness import Look

EVERY_S = 60.0  # costs a server one prompt of 40 tokens and 6 of an answer
SOONEST_S = 5.0  # however often it gives reason to doubt
AGAIN_S = 10.0  # where it did not say
BELIEVED_AT = 2


class Recognition:
    """Of one server. `alike` are the fingerprints that it has, ties broken one way or the other; `now_s` is a monotonic
    clock."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.alike: frozenset[str] = frozenset()
        self._now_s = now_s
        self._taken_s: float | None = None
        self._due_s = 0.0
        self._known: Look | None = None
        self._other: Look | None = None
        self._seen = 0

    @property
    def age_s(self) -> float | None:
        """Seconds since it last said what it is; None where it never did."""
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

    def met(self, look: Look) -> None:
        """This is what it is: it was never known, or was away."""
        if self._known is None or not look.may_be(self._known):
            self._known, self.alike = look, frozenset()
        self._settle(look)

    def found(self, look: Look) -> bool:
        """It was asked again, and said this. Whether it is believed to be another now."""
        if self._known is None or look.may_be(self._known):
            self.met(look)
            return False
        self._taken_s = self._due_s = self._now_s()
        is_again = self._other is not None and look.may_be(self._other)
        self._other, self._seen = look, self._seen + 1 if is_again else 1
        if self._seen < BELIEVED_AT:
            return False
        self.met(look)
        return True

    def _settle(self, look: Look) -> None:
        self.alike |= {look.fingerprint}
        self._other, self._seen = None, 0
        self._taken_s = self._now_s()
        self._due_s = self._taken_s + EVERY_S
