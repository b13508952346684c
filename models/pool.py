"""The servers of one tier as one model: the least busy one answers, and another one where that fails at once."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from models.answer import Delta, Finish
from models.errors import BadReply, Disconnected, ModelError, Overloaded, TimedOut, Unreachable
from models.prompt import Prompt
from models.replica import Replica

ANOTHER_MAY_DO_BETTER = (BadReply, Overloaded, TimedOut, Unreachable)


class Pool:
    """A tier's replicas."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = tuple(replicas)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As `Model.generate`; a failure before the answer begins is tried once more, on another replica if it can.

        A delta that only announces an answer is held until the next. A lone replica is tried again only where the
        connection broke before a word was said.
        """
        first = self._least_busy()
        held: list[Delta] = []
        begun = False
        try:
            async with aclosing(first.generate(prompt)) as parts:
                async for part in parts:
                    if isinstance(part, Delta) and not begun and not part.says_something:
                        held.append(part)
                        continue
                    begun = True
                    for announcement in held:
                        yield announcement
                    held.clear()
                    yield part
            return
        except ANOTHER_MAY_DO_BETTER as failed:
            second = self._second_chance(first, failed)
            if begun or second is None:
                raise
        async with aclosing(second.generate(prompt)) as parts:
            async for part in parts:
                yield part

    async def is_up(self) -> bool:
        """Whether any replica answers."""
        return any(await asyncio.gather(*(replica.is_up() for replica in self.replicas)))

    def _least_busy(self, *, but: Replica | None = None) -> Replica:
        choices = [replica for replica in self.replicas if replica is not but]
        return min(choices, key=lambda replica: (replica.running, random.random()))

    def _second_chance(self, tried: Replica, failed: ModelError) -> Replica | None:
        if len(self.replicas) > 1:
            return self._least_busy(but=tried)
        return tried if isinstance(failed, Disconnected) else None
