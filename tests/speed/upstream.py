"""A model server in this process, which answers at once: small enough not to matter, and the same each time."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

from speed.still import turns

SURE, UNSURE = -0.01, -2.0
UNSURE_PROMPT = "unsure"


def tokens(number: int, logprob: float) -> list[dict[str, Any]]:
    """So many; none comes twice, which would look like a loop."""
    return [
        {"token": f" word{place}", "logprob": logprob, "bytes": None, "top_logprobs": []} for place in range(number)
    ]


def usage(number: int) -> dict[str, int]:
    """What the answer came to."""
    return {"prompt_tokens": 200, "completion_tokens": number, "total_tokens": 200 + number}


def reply(asked: dict[str, Any]) -> bytes:
    """A whole answer of as many tokens as may be, with log-probabilities where they are wanted."""
    number = asked["max_tokens"]
    said = tokens(number, UNSURE if UNSURE_PROMPT in asked["messages"][0]["content"] else SURE)
    message = {"role": "assistant", "content": "".join(token["token"] for token in said)}
    logprobs = {"content": said} if asked.get("logprobs") else None
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1, "model": asked["model"]}
    return json.dumps({**body, "choices": [choice], "usage": usage(number)}).encode()


def chunks(asked: dict[str, Any]) -> list[bytes]:
    """The same as a stream, a chunk for each token."""
    number, wanted = asked["max_tokens"], bool(asked.get("logprobs"))
    base = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
    parts = [
        {"index": 0, "delta": {"content": token["token"]}, "finish_reason": None,
         "logprobs": {"content": [token]} if wanted else None}
        for token in tokens(number, SURE)
    ]  # fmt: skip
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    said = [{**base, "choices": [part]} for part in [*parts, end]] + [{**base, "choices": [], "usage": usage(number)}]
    return [b"data: " + json.dumps(part).encode() + b"\n\n" for part in said] + [b"data: [DONE]\n\n"]


class Upstream(asyncio.Protocol):
    """One connection: requests come one after another."""

    def __init__(self) -> None:
        self._received = b""
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The gateway is here."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A part of a request, or all of it."""
        self._received += data
        head, ended, rest = self._received.partition(b"\r\n\r\n")
        lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if not ended or len(rest) < sum(lengths):
            return
        self._received = b""
        task = asyncio.get_running_loop().create_task(self._answer(head.split(b" ")[1], rest))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/v1/models":
            cards = [{"id": name, "object": "model", "max_model_len": 8192} for name in ("small", "large")]
            self._whole(200, json.dumps({"object": "list", "data": cards}).encode())
        elif path != b"/v1/chat/completions":
            self._whole(404, b"{}")
        elif (asked := json.loads(body)).get("stream"):
            await self._stream(chunks(asked))
        else:
            self._whole(200, reply(asked))

    def _whole(self, status: int, body: bytes) -> None:
        head = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)

    async def _stream(self, said: Sequence[bytes]) -> None:
        """Each chunk comes when the one before has been dealt with."""
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for part in said:
            self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))
            await turns()
        self._transport.write(b"0\r\n\r\n")


@asynccontextmanager
async def running():
    """Its address."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
