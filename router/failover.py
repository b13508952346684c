"""How many requests may go up because a tier failed, so that a dead drafter does not drown the final tier."""

import time
from collections.abc import Callable

WINDOW_S = 30.0
SPARED = 20


class Failover:
    """Counts over the last half to whole minute. Of its requests at most `share` (0 to 1) go up because of a failure,
    but the first 20 always may: a share of a few requests says nothing. `now_s` is a monotonic clock."""

    def __init__(self, share: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._now_s = now_s
        self._window_ends_s = now_s() + WINDOW_S
        self._asked = [0, 0]
        self._went_up = [0, 0]

    def asked(self) -> None:
        """A request has come."""
        self._turn()
        self._asked[0] += 1

    def may_go_up(self) -> bool:
        """Whether one more may; if so, it is counted."""
        self._turn()
        went_up = sum(self._went_up) + 1
        if went_up > SPARED and went_up > self._share * sum(self._asked):
            return False
        self._went_up[0] += 1
        return True

    def _turn(self) -> None:
        while self._now_s() >= self._window_ends_s:
            idle = self._now_s() - self._window_ends_s > WINDOW_S
            for counts in (self._asked, self._went_up):
                counts[:] = [0, 0 if idle else counts[0]]
            self._window_ends_s = self._now_s() + WINDOW_S if idle else self._window_ends_s + WINDOW_S
