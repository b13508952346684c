"""A stream's body on its way to a client: what comes at once goes out as one, and nothing waits for what is not there
yet. Knows nothing of what it says."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from types import coroutine
from typing import TypeVar

from starlette.types import Send

MOST_BYTES = 32 * 2**10  # at once

Made = TypeVar("Made")


class Outgoing:
    """The body, from its first byte to its last."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._events: list[bytes] = []
        self._bytes = 0

    def after(self, parts: AsyncGenerator[Made]) -> Awaitable[Made | None]:
        """The next of the parts, or None at their end; before it is waited for, what there is goes out."""
        step = anext(parts, None)
        return waited_for(step, self.flush) if self._events else step

    async def write(self, events: bytes, *, more: bool) -> None:
        """Some events, with those that did not go out yet; where `more` seem to be there, together with these."""
        if more or self._events:
            self._events.append(events)
            self._bytes += len(events)
            if not more or self._bytes > MOST_BYTES:
                await self.flush()
        elif events:
            await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def flush(self) -> None:
        """What there is goes out."""
        if self._bytes:
            await self._send({"type": "http.response.body", "body": self._taken(), "more_body": True})

    async def end(self, events: bytes) -> None:
        """The last ones."""
        await self._send({"type": "http.response.body", "body": self._taken() + events, "more_body": False})

    def _taken(self) -> bytes:
        taken, self._events, self._bytes = b"".join(self._events), [], 0
        return taken


@asynccontextmanager
async def outgoing(send: Send) -> AsyncGenerator[Outgoing]:
    """A body; where what it is made of fails, it goes out so far."""
    body = Outgoing(send)
    try:
        yield body
    except Exception:
        await body.flush()
        raise


@coroutine
def waited_for(making: Awaitable[Made], before: Callable[[], Awaitable[None]]) -> Generator[object, object, Made]:
    """What is made; where that takes a wait, `before` is done first. Where that fails, or is cancelled, what was waited
    for hears of it, as of the cancellation of a wait."""
    steps = making.__await__()
    try:
        awaited = next(steps)
        try:
            yield from before().__await__()
        except BaseException as failed:  # noqa: BLE001 - passed on
            awaited = steps.throw(failed)
        while True:
            try:
                told = yield awaited
            except BaseException as failed:  # noqa: BLE001 - passed on
                awaited = steps.throw(failed)
            else:
                awaited = steps.send(told)
    except StopIteration as made:
        value: Made = made.value
        return value
