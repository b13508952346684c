"""A server that embeds texts by the words that it knows."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def embeds(*words: str, total: bool = False) -> Answering:
    """A number for each word, 3 where it is in the text and 0 where it is not, and a 4 behind them all."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response(reply([*(3.0 * (word in body["input"].lower()) for word in words), 4.0], total=total))

    return answer


def reply(vector: Sequence[Any], *, total: bool = False) -> dict[str, Any]:
    """As vLLM says it, which counts five tokens."""
    usage = {"total_tokens": 5} if total else {"prompt_tokens": 5, "total_tokens": 5, "completion_tokens": 0}
    return {"object": "list", "data": [{"index": 0, "object": "embedding", "embedding": list(vector)}], "usage": usage}


def says(content: Any, status: int = 200) -> Answering:
    """The same to everything."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(content, status=status)

    return answer


async def hangs(_request: web.Request) -> web.Response:
    """Never."""
    await asyncio.Event().wait()
    raise AssertionError
