"""What bodies that have not come whole hold of this gateway's memory: so much in all, of which no caller has more than
is left for others. Knows nothing of what they say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from server.errors import RequestError

RETRY_S = 1


class Bodies:
    """Those that are being read. A caller may hold as much as stays free (dynamic thresholds: Choudhury and Hahne,
    "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking, 1998):
    one alone has half, and whoever comes later finds room."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: dict[str, int] = {}
        self.bytes = 0

    @contextmanager
    def held(self, caller: str) -> Iterator[Callable[[int], None]]:
        """What is to be told how many bytes more of a caller's body there are, and raises RequestError where there is
        no room for them. They are given back with the block's end."""
        mine = 0

        def more(count: int) -> None:
            nonlocal mine
            if self._held.get(caller, 0) + count > self._most_bytes - self.bytes - count:
                raise crowded()
            mine += count
            self._add(caller, count)

        try:
            yield more
        finally:
            self._add(caller, -mine)

    def _add(self, caller: str, count: int) -> None:
        self.bytes += count
        held = self._held.pop(caller, 0) + count
        if held:
            self._held[caller] = held


def crowded() -> RequestError:
    """There is no room for more of a body now."""
    error = RequestError("too many large requests are coming in at once: try again", status=503, code="bodies_full")
    error.problem = replace(error.problem, type="overloaded_error", retry_after_s=RETRY_S)
    return error
