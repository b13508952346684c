"""A tier whose servers may all be gone until they are wanted: requests wait for the first one. Knows nothing of why."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from models.answer import Delta, Finish
from models.errors import NoConnection, Unreachable
from models.pool import Pool
from models.prompt import Prompt

AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How many requests wait at once, and for how many seconds each."""

    wait_s: float
    requests: int


class Waiting:
    """The pool, as a model that waits for its first server. `requests` is how many wait now."""

    def __init__(
        self, pool: Pool, patience: Patience, *,
        now_s: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._patience = patience
        self._now_s = now_s
        self._sleep = sleep
        self.requests = 0

    @property
    def takes_handover(self) -> bool:
        """As the pool."""
        return self._pool.takes_handover

    @property
    def goes_on(self) -> bool:
        """As the pool."""
        return self._pool.goes_on

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As `Model.generate`. Raises Unreachable where no server came in time, or too many requests wait already."""
        begun, ends_s = False, self._now_s() + self._patience.wait_s
        while True:
            try:
                async with aclosing(self._pool.generate(prompt)) as parts:
                    async for part in parts:
                        begun = True
                        yield part
                return
            except Unreachable as failed:
                if begun or not self._is_cold(failed) or not self._may_wait(ends_s):
                    raise
            await self._wait()

    def _is_cold(self, failed: Unreachable) -> bool:
        return isinstance(failed, NoConnection) or not any(one.may_be_asked for one in self._pool.replicas)

    def _may_wait(self, ends_s: float) -> bool:
        return self._now_s() + AGAIN_S <= ends_s and self.requests < self._patience.requests

    async def _wait(self) -> None:
        self.requests += 1
        try:
            await self._sleep(AGAIN_S)
        finally:
            self.requests -= 1
