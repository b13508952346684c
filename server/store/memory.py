"""Keeps audits for as long as the process lives, where there is no store."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice

from server.store.records import Audit, Placed, Record

MOST = 10_000
AT_ONCE = 1_000


class MemoryLedger:
    """A Ledger of the last audits; other records are not for it."""

    def __init__(self) -> None:
        self._place = 0
        self._placed = deque[Placed](maxlen=MOST)

    def keep(self, record: Record) -> bool:
        """See Ledger."""
        if not isinstance(record, Audit):
            return False
        self._place += 1
        self._placed.append(Placed(self._place, record))
        return True

    async def audits_since(self, cascade: str, after: int, *, formerly: Collection[str] = ()) -> Sequence[Placed]:
        """See Ledger."""
        names = {cascade, *formerly}
        later = (one for one in self._placed if one.place > after and one.audit.cascade in names)
        return list(islice(later, AT_ONCE))

    async def former_names(self, artefact: str, known: Collection[str]) -> Collection[str]:  # noqa: ARG002 - as Ledger
        """See Ledger: nobody had another name in this process."""
        return ()
