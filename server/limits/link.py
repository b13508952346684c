"""The connections to Redis, and whether it answers. Nothing waits for it longer than its limit."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import RedisError

from server.limits.script import StoreDown, source

MOST_CONNECTIONS = 32


class LinkCounting(Protocol):
    """Is told what Redis fails to do."""

    def store_failed(self) -> None:
        """A question had no answer."""
        ...


class Link:
    """Runs the scripts in one Redis, or in one Valkey."""

    def __init__(self, url: str, *, timeout_s: float, counting: LinkCounting) -> None:
        self._timeout_s = timeout_s
        self._counting = counting
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MOST_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1, supported_errors=(Broken,)),  # an idle connection may have been closed
        )
        self._redis = Redis(connection_pool=pool)
        self._reserve = self._redis.register_script(source("reserve"))
        self._leave = self._redis.register_script(source("leave"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def reserve(self, keys: Sequence[str], told: Sequence[str | float]) -> Sequence[bytes | int]:
        """What the script returns. Raises StoreDown."""
        with self._translated():
            async with asyncio.timeout(2 * self._timeout_s):
                said: Sequence[bytes | int] = await self._reserve(keys=list(keys), args=list(told))
        return said

    async def leave(self, key: str, me: str) -> None:
        """Nothing more will be told under this name. Raises StoreDown."""
        with self._translated():
            async with asyncio.timeout(2 * self._timeout_s):
                await self._leave(keys=[key], args=[me])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError, TimeoutError) as failed:
            self._counting.store_failed()
            raise StoreDown(f"{type(failed).__name__}: {failed}") from failed
