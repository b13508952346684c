"""The connections to Redis, and whether it answers. Nothing waits for it longer than its limit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Broken

from server.limits.script import StoreDown, source

MOST_CONNECTIONS = 32
OF_A_CLUSTER = "it is a node of a Redis Cluster, which is not spoken here: name one Redis that has all keys"
OF_A_REPLICA = "it is a replica: name the primary"
OF_A_SENTINEL = "it is a Redis Sentinel, which is not spoken here: name the primary, or what leads to it"


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
        async with self._asking():
            try:
                said: Sequence[bytes | int] = await self._reserve(keys=list(keys), args=list(told))
            except ReadOnlyError:
                # The primary is another one since: what leads to it is asked anew.
                await self._redis.connection_pool.disconnect(inuse_connections=False)
                raise
        return said

    async def mode(self) -> str:
        """What it says that it is: `standalone`, `cluster` or `sentinel`. Raises StoreDown."""
        async with self._asking():
            told = await self._redis.info("server")
        return str(told.get("redis_mode", told.get("server_mode", "standalone")))

    async def leave(self, key: str, me: str) -> None:
        """Nothing more will be told under this name. Raises StoreDown."""
        async with self._asking():
            await self._leave(keys=[key], args=[me])

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                yield
        except (RedisError, OSError, TimeoutError) as failed:
            self._counting.store_failed()
            raise StoreDown(why(failed)) from failed


def why(failed: Exception) -> str:
    """In its own words, or in ours where those would tell nobody what to do."""
    match failed:
        case MovedError() | ClusterDownError():
            return OF_A_CLUSTER
        case ReadOnlyError():
            return OF_A_REPLICA
        case ResponseError() if str(failed).startswith("unknown command 'EVALSHA'"):
            return OF_A_SENTINEL
        case _:
            return f"{type(failed).__name__}: {failed}"
