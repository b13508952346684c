"""Asks a model for one whole answer, and again while its server is only busy. Knows nothing of files."""

import asyncio
import math
import random
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, TypeVar

from models.answer import Delta, Draft, Finish, Usage, draft_of
from models.errors import BadReply, CapabilityMiss, Misconfigured, ModelError, Overloaded, TimedOut
from models.prompt import Prompt
from models.wire import JsonObject, WireReply

T = TypeVar("T")


class Answers(Protocol):
    """A model, as far as it is asked here."""

    def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As `Model.generate`."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a server is asked at most: one that is full, one that fails, one that takes longer than its limits
    allow; after pauses that double."""

    tries_when_full: int = 9
    tries: int = 4
    tries_when_late: int = 2
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0

    def pause_s(self, asked: int, failed: ModelError) -> float | None:
        """How long to wait after so many tries, or None to give up. No two waits are the same."""
        if asked >= self.tries_after(failed):
            return None
        told_s = (failed.retry_after_s or 0) if isinstance(failed, Overloaded) else 0
        pause_s = min(max(math.ldexp(self.first_pause_s, asked - 1), told_s), self.longest_pause_s)
        return pause_s * random.uniform(0.75, 1.25)

    def tries_after(self, failed: ModelError) -> int:
        """How often to ask where this came back; what is refused once is refused for good."""
        match failed:
            case CapabilityMiss() | Misconfigured():
                return 1
            case Overloaded():
                return self.tries_when_full
            case TimedOut():
                return self.tries_when_late
            case _:
                return self.tries


PATIENT = Patience()


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole answer: the server's reply, what it says, what it took, and how long it was in coming."""

    reply: WireReply
    draft: Draft
    usage: Usage | None
    seconds: float


async def ask(model: Answers, request: JsonObject, *, alternatives: int | None, patience: Patience) -> Whole:
    """The answer, with log-probabilities of each token and that many alternatives, if any. Raises a ModelError."""
    return await patiently(lambda: ask_once(model, Prompt(request, uuid.uuid4().hex, alternatives)), patience)


async def patiently(once: Callable[[], Awaitable[T]], patience: Patience) -> T:
    """What comes of it when it is tried as often as the patience lasts. Raises a ModelError."""
    asked = 0
    while True:
        asked += 1
        try:
            return await once()
        except ModelError as failed:
            pause_s = patience.pause_s(asked, failed)
            if pause_s is None:
                raise
        await asyncio.sleep(pause_s)


async def ask_once(model: Answers, prompt: Prompt) -> Whole:
    """The answer to a prompt that does not stream, which is one delta. Raises a ModelError."""
    began_s = time.perf_counter()
    delta, usage = None, None
    async with aclosing(model.generate(prompt)) as parts:
        async for part in parts:
            if isinstance(part, Delta):
                delta = part
            else:
                usage = part.usage
    if delta is None:
        raise BadReply("the server sent no answer")
    return Whole(delta.reply, draft_of([delta]), usage, time.perf_counter() - began_s)
