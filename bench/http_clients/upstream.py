"""A static upstream in the shape of vLLM, and a server that drops idle connections. Knows nothing of the clients."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable

import orjson
import uvicorn

Message = dict[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TOKEN = {"token": " token", "logprob": -0.0123456789, "bytes": [32, 116, 111, 107, 101, 110]}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": " token" * 20}, "finish_reason": "stop"}
LOGPROBS = {"content": [TOKEN | {"top_logprobs": [TOKEN]} for _ in range(20)]}
REPLY = orjson.dumps({"id": "chatcmpl-0", "object": "chat.completion", "choices": [CHOICE | {"logprobs": LOGPROBS}]})
DELTA = {"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}
CHUNK = b"data: " + orjson.dumps({"id": "chatcmpl-0", "model": "m", "created": 1, "choices": [DELTA]}) + b"\n\n"
CHUNKS_PER_STREAM = 200
PACE_S = 0.002
IDLE_S = 0.1


class Upstream:
    """`/json`, `/sse` and `/paced` answer; `/hang` and `/stall` wait for the client to leave; `/seen` tells of all."""

    def __init__(self) -> None:
        self.peers: set[object] = set()
        self.left_at = 0.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.peers.add(scope["client"])
        while (await receive())["more_body"]:
            pass
        match scope["path"]:
            case "/json":
                await reply(send, REPLY)
            case "/sse":
                await stream(send, pause_s=0)  # still a turn of the loop, or uvloop joins the chunks into one write
            case "/paced":
                await stream(send, pause_s=PACE_S)
            case "/seen":
                seen = {"connections": len(self.peers), "left_at": self.left_at, "cpu_s": time.process_time()}
                await reply(send, orjson.dumps(seen))
            case "/stall":
                await start(send, [(b"content-type", b"text/event-stream")])
                await body(send, CHUNK, more_body=True)
                await self.wait_for_leaving(receive)
            case "/hang":
                await self.wait_for_leaving(receive)

    async def wait_for_leaving(self, receive: Receive) -> None:
        await receive()
        self.left_at = time.monotonic()


async def start(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def body(send: Send, content: bytes, *, more_body: bool = False) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more_body})


async def reply(send: Send, content: bytes) -> None:
    await start(send, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))])
    await body(send, content)


async def stream(send: Send, *, pause_s: float) -> None:
    await start(send, [(b"content-type", b"text/event-stream")])
    for _ in range(CHUNKS_PER_STREAM):
        await body(send, CHUNK, more_body=True)
        await asyncio.sleep(pause_s)
    await body(send, b"")


async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first request of a connection; then close when idle, or on `/race` as the second one arrives."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    await (reader.read(1) if b"/race" in head else asyncio.sleep(IDLE_S))
    writer.close()


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=256)


async def serve() -> None:
    static, dropping = listen(), listen()
    print(static.getsockname()[1], dropping.getsockname()[1], flush=True)
    config = uvicorn.Config(
        Upstream(), http="httptools", lifespan="off", log_level="warning", access_log=False, timeout_keep_alive=75
    )
    async with await asyncio.start_server(drop, sock=dropping):
        await uvicorn.Server(config).serve(sockets=[static])


if __name__ == "__main__":
    import uvloop

    os.sched_setaffinity(0, {int(sys.argv[1])})
    uvloop.run(serve())
