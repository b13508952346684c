"""One answer to one client: as a stream or whole, and not a token longer than the client stays."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from models.engine.bodies import GenerationBody
from models.engine.engine import Answer
from models.engine.errors import ClientLeft, EngineError, wire
from models.engine.generation import Delta, fold
from models.engine.wire import Form, Json, speculation, sse, usage


@dataclass(frozen=True, slots=True)
class UsageWish:
    """Whether a stream ends with its usage, and whether every chunk carries it so far."""

    at_end: bool
    always: bool

    @classmethod
    def of(cls, body: GenerationBody) -> "UsageWish":
        """What the body's stream options ask for."""
        options = body.stream_options
        at_end = options is not None and bool(options.include_usage)
        always = options is not None and bool(options.continuous_usage_stats)
        return cls(at_end=at_end, always=at_end and always)


@contextlib.asynccontextmanager
async def while_client_stays(request: Request, answer: Answer) -> AsyncIterator[None]:
    """Abandon the answer as soon as the client hangs up."""
    watch = asyncio.create_task(_abandon_when_left(request, answer))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def whole(answer: Answer, form: Form, prompt_tokens: int) -> Json:
    """The folded stream."""
    rows: defaultdict[int, list[Delta]] = defaultdict(list)
    async for delta in answer.deltas():
        rows[delta.index].append(delta)
    choices = [fold(index, rows[index]) for index in sorted(rows)]
    written = sum(len(choice.tokens) for choice in choices)
    return {**form.whole(choices), "usage": usage(prompt_tokens, written), "metrics": _metrics(answer)}


async def stream(answer: Answer, form: Form, prompt_tokens: int, wish: UsageWish) -> AsyncGenerator[bytes, None]:
    """Server-sent events; once they flow, an error is one of them."""
    try:
        async with contextlib.aclosing(_chunks(answer, form, prompt_tokens, wish)) as chunks:
            async for chunk in chunks:
                yield sse(chunk)
    except EngineError as error:
        yield sse(wire(error)[1])
    yield b"data: [DONE]\n\n"


async def _chunks(answer: Answer, form: Form, prompt_tokens: int, wish: UsageWish) -> AsyncGenerator[Json, None]:
    def counted(chunk: Json, written: int) -> Json:
        return {**chunk, "usage": usage(prompt_tokens, written)} if wish.always else chunk

    written = 0
    async with contextlib.aclosing(answer.deltas()) as deltas:
        async for delta in deltas:
            if not written:
                for chunk in form.openings():
                    yield counted(chunk, 0)
            written += len(delta.tokens)
            yield counted(form.chunk(delta), written)
    if wish.at_end:
        metrics = _metrics(answer)
        measured = {"metrics": metrics} if metrics else {}
        yield {**form.closing(), "usage": usage(prompt_tokens, written), **measured}


def _metrics(answer: Answer) -> Json | None:
    """As in vLLM, of one sequence only: what several have in common would be nobody's."""
    if len(answer.rows) > 1 or not answer.verifications:
        return None
    return {"speculative_decoding": speculation(answer.verifications, answer.speculative_tokens)}


async def _abandon_when_left(request: Request, answer: Answer) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    answer.abandon(ClientLeft("the client has left"))
