"""A static model server on one port, in vLLM's shape: 20 tokens, with log-probabilities where they are asked for. A raw
protocol, so that it is not what is measured.

    python bench/rig/upstream.py PORT

The models are `small` and `large`; `small` is unsure of a prompt that begins with `unsure`.
"""

import asyncio
import re
import sys

import orjson
import uvloop

TOKENS = 20
SURE, UNSURE = -0.01, -2.0
WANTS_LOGPROBS = re.compile(rb'"logprobs":\s*true')
IS_LARGE = re.compile(rb'"model":\s*"large"')
IS_UNSURE = re.compile(rb'"content":\s*"unsure')
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
END_OF_HEADERS = b"\r\n\r\n"


def answer(model: str, logprob: float | None) -> bytes:
    """A whole HTTP response. No two tokens are alike, which would look like a loop."""
    words = [f" word{place}" for place in range(TOKENS)]
    tokens = [{"token": word, "logprob": logprob, "bytes": [*word.encode()], "top_logprobs": []} for word in words]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(words)},
        "logprobs": None if logprob is None else {"content": tokens},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 16, "completion_tokens": TOKENS, "total_tokens": 16 + TOKENS}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return response(b"200 OK", {**body, "usage": usage})


def response(status: bytes, body: object) -> bytes:
    """A response with a JSON body."""
    written = orjson.dumps(body)
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(written))
    return head + written


SAID = {
    (large, logprob): answer("large" if large else "small", logprob)
    for large in (False, True)
    for logprob in (None, SURE, UNSURE)
}
CARDS = [{"id": model, "object": "model", "max_model_len": 2**20} for model in ("small", "large")]
LISTED = response(b"200 OK", {"object": "list", "data": CARDS})
HEALTHY = response(b"200 OK", {})
UNKNOWN = response(b"404 Not Found", {"error": {"message": "there is no such path here"}})


def said(head: bytes, body: bytearray) -> bytes:
    """What is answered to a request."""
    if b"/chat/completions " in head:
        logprob = (UNSURE if IS_UNSURE.search(body) else SURE) if WANTS_LOGPROBS.search(body) else None
        return SAID[IS_LARGE.search(body) is not None, logprob]
    if b"/models " in head:
        return LISTED
    return HEALTHY if b"/health " in head else UNKNOWN


class Upstream(asyncio.Protocol):
    """One connection; one request after another."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._head = b""
        self._wanted = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._wanted < 0 and not self._heard():
            return
        if len(self._received) < self._wanted:
            return
        body = self._received
        self._received, self._wanted = bytearray(), -1
        self._transport.write(said(self._head, body))

    def _heard(self) -> bool:
        head, end, body = self._received.partition(END_OF_HEADERS)
        if not end:
            return False
        length = LENGTH.search(head)
        self._head, self._received = bytes(head), body
        self._wanted = int(length[1]) if length else 0
        return True


async def serve(port: int) -> None:
    """Until it is stopped."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
