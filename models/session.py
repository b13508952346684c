"""The connections to all servers: one is used again while it is fresh. Knows nothing of what is said over them."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, Self

from models.connecting import Connecting
from models.connection import Connection
from models.errors import NoConnection, TimedOut
from models.route import Place, Route, lines_of

KEEP_ALIVE_S = 4.0  # vLLM closes an idle connection after 5 s; ours go first


class Followed(Protocol):
    """A request that somebody follows."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What its server is to be told."""
        ...

    def answered(self, status: int) -> None:
        """The status that came."""
        ...


Follow = Callable[[Route], AbstractContextManager[Followed]]


class Session:
    """Sends requests; to be made in the loop's process, and to be closed. `follow` makes who follows each request until
    its reply begins."""

    def __init__(self, follow: Follow | None = None, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self._follow = follow
        self._keep_alive_s = keep_alive_s
        self._connecting = Connecting(self._take_back)
        self._idle: dict[Place, deque[tuple[Connection, float]]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what is idle now, and the rest once it is."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for idle in self._idle.values():
            for connection, _since_s in idle:
                connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # they close in the loop's next turn

    async def sent(
        self,
        route: Route,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        by_s: float,
        connect_s: float = math.inf,
    ) -> Connection:
        """A connection over which the reply's head has come, for a `with` block; leaving it before the reply was read
        to its end closes the connection, and the server may stop its work. Connecting may take `connect_s` seconds, and
        the reply, body included, until the loop's time `by_s`. Raises NoConnection, Disconnected or TimedOut;
        ValueError for headers that cannot be sent."""
        told = headers or {}
        if self._follow is None:
            return await self._sent(route, body, told, connect_s, by_s)
        with self._follow(route) as followed:
            connection = await self._sent(route, body, {**told, **followed.headers}, connect_s, by_s)
            followed.answered(connection.status)
        return connection

    async def _sent(
        self, route: Route, body: bytes, headers: Mapping[str, str], connect_s: float, by_s: float
    ) -> Connection:
        lines = lines_of(headers)
        connection = self._fresh(route.place) or await self._connected(route, connect_s, by_s)
        try:
            connection.send(route, lines, body)
            connection.limit(by_s)
            await connection.head()
        except BaseException:
            self._take_back(connection)
            raise
        return connection

    def _take_back(self, connection: Connection) -> None:
        connection.limit(None)
        if self._closed or connection.is_spent:
            connection.abort()
            return
        self._idle.setdefault(connection.route.place, deque()).append((connection, time.monotonic()))
        if self._sweeping is None:
            self._sweep_later()

    def _fresh(self, place: Place) -> Connection | None:
        """The connection there that was used last, if it may be used once more. What the loop was too busy to see is
        looked for: that the server closed it."""
        idle = self._idle.get(place)
        while idle:
            connection, since_s = idle.pop()
            if not connection.is_spent and time.monotonic() - since_s < self._keep_alive_s and connection.is_quiet:
                return connection
            connection.abort()
        return None

    async def _connected(self, route: Route, connect_s: float, by_s: float) -> Connection:
        within_s = min(connect_s, by_s - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(within_s):
                return await self._connecting.to(route.place)
        except TimeoutError as late:
            raise TimedOut(f"{route.server} took longer than its limits allow") from late
        except (OSError, UnicodeError) as failed:  # a name that is none is as good as unknown
            raise NoConnection(f"{route.server}: {type(failed).__name__}") from failed

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(self._keep_alive_s, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        self._sweeping = None
        now_s = time.monotonic()
        for place, idle in [*self._idle.items()]:
            while idle and now_s - idle[0][1] >= self._keep_alive_s:
                connection, _ = idle.popleft()
                connection.abort()
            if not idle:
                del self._idle[place]
        if self._idle:
            self._sweep_later()
