"""All keys in memory, as of a moment ago: no request waits for the database, whatever it shows as its key.

A task asks the database every two seconds what has changed; what this gateway changes itself it knows at once. While
the database cannot be read, the keys that are known go on for as long as the operator wants.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from server.access.caller import Caller
from server.access.key import Key
from server.background import in_background
from server.store.database import Refused
from server.store.keys import KeyTable
from server.store.records import StoreDown

POLL_S = 2.0
USED_EVERY_S = 60.0

log = structlog.get_logger()


class Keyring:
    """The keys that are not revoked. `offline_s` is how long they are good without the database; `clock` is in seconds,
    from anywhere."""

    def __init__(self, table: KeyTable, *, offline_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._offline_s = offline_s
        self._clock = clock
        self._known: dict[str, tuple[Key, Caller]] = {}
        self._revision = 0
        self._read_s: float | None = None
        self._used: dict[str, float] = {}
        self._told_s = clock()
        self._reading = asyncio.Lock()

    @property
    def is_readable(self) -> bool:
        """Whether it is known, recently enough, who has a key."""
        return self._read_s is not None and self._clock() - self._read_s <= self._offline_s

    def find(self, identity: str) -> tuple[Key, Caller] | None:
        """The key of that id, and who uses it; it may be over."""
        return self._known.get(identity)

    def used(self, identity: str) -> None:
        """Its key is in use now."""
        self._used[identity] = time.time()

    async def refresh(self) -> None:
        """Read what has changed. Raises StoreDown."""
        async with self._reading:
            began_s = self._clock()
            changes = await self._table.changed_since(self._revision)
            if changes.last < self._revision:
                self._known.clear()
            for key in changes.keys:
                self._learn(key)
            for identity in changes.unreadable:
                self._known.pop(identity, None)
                log.error("a key cannot be read, and is not taken: use the version that wrote it", key=identity)
            self._revision, self._read_s = changes.last, began_s

    def _learn(self, key: Key) -> None:
        if key.revoked is not None:
            self._known.pop(key.id, None)
        else:
            self._known[key.id] = (key, key.caller)

    async def run(self) -> None:
        """Keep up with the database, until cancelled."""
        is_down = False
        while True:
            try:
                await self.refresh()
                await self.tell_used_at_times()
                is_down = False
            except (StoreDown, Refused) as down:
                if not is_down:
                    log.error(
                        "keys cannot be read", cause=str(down), known=len(self._known), known_for_s=self._offline_s
                    )
                is_down = True
            except Exception:
                log.exception("reading keys failed")
            await asyncio.sleep(POLL_S)

    async def tell_used_at_times(self) -> None:
        """Say when keys were last used, by the minute; where that cannot be written now, in the next."""
        if self._clock() - self._told_s >= USED_EVERY_S:
            try:
                await self.tell_used()
            except (StoreDown, Refused) as down:
                log.warning("last uses of keys are not kept", cause=str(down))

    async def tell_used(self) -> None:
        """The same, now. Raises StoreDown."""
        used, self._used = self._used, {}
        self._told_s = self._clock()
        try:
            await self._table.used(used)
        except BaseException:
            self._used = {**used, **self._used}
            raise


@asynccontextmanager
async def kept_up(keyring: Keyring) -> AsyncIterator[Keyring]:
    """It keeps up with the database for as long as the block; where that cannot be read at first, it begins without."""
    try:
        await keyring.refresh()
    except (StoreDown, Refused) as down:
        log.error("keys cannot be read: nobody may ask until they are", cause=str(down))
    try:
        async with in_background(keyring.run()):
            yield keyring
    finally:
        try:
            async with asyncio.timeout(POLL_S):
                await keyring.tell_used()
        except (StoreDown, Refused, TimeoutError) as down:
            log.warning("last uses of keys are not kept", cause=str(down))
