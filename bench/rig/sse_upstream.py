"""A model server that writes streams at a pace, in vLLM's shape: each token's text is when it was sent, in microseconds
of the machine's monotonic clock (the first one's: when the request came), so that whoever reads it knows what became of
it on the way. A raw protocol, so that it is not what is measured.

    python bench/rig/sse_upstream.py PORT TOKENS_PER_SECOND

A request's `max_tokens` is the answer's length. The models are `small` and `large`; `small` is unsure of a prompt that
begins with `unsure`. Log-probabilities and token ids come where they are asked for. At 0 tokens a second some are sent
as soon as the client has taken the last ones.
"""

import asyncio
import re
import sys
import time

import orjson
import uvloop

LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
MAX_TOKENS = re.compile(rb'"max_tokens":\s*(\d+)')
IS_LARGE = re.compile(rb'"model":\s*"large"')
IS_UNSURE = re.compile(rb'"content":\s*"unsure')
WANTS_LOGPROBS = re.compile(rb'"logprobs":\s*true')
WANTS_IDS = re.compile(rb'"return_token_ids":\s*true')
WANTS_USAGE = re.compile(rb'"include_usage":\s*true')
END_OF_HEADERS = b"\r\n\r\n"
PROMPT_TOKENS = 16
SURE, UNSURE = -0.01, -2.0
AT_ONCE = 16  # tokens, where there is no pace
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
CARDS = [{"id": model, "object": "model", "max_model_len": 2**20} for model in ("small", "large")]


def response(status: bytes, body: object) -> bytes:
    """A response with a JSON body."""
    written = orjson.dumps(body)
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(written))
    return head + written


LISTED = response(b"200 OK", {"object": "list", "data": CARDS})
HEALTHY = response(b"200 OK", {})
UNKNOWN = response(b"404 Not Found", {"error": {"message": "there is no such path here"}})


def chunked(events: bytes) -> bytes:
    """As a chunk of HTTP's transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(events), events)


class Wording:
    """The events of one answer."""

    def __init__(self, body: bytes) -> None:
        is_large = IS_LARGE.search(body) is not None
        model = b"large" if is_large else b"small"
        logprob = UNSURE if IS_UNSURE.search(body) and not is_large else SURE
        ids, prompt_ids = b"", b""
        if WANTS_IDS.search(body):
            ids = b',"token_ids":[1234]'
            prompt_ids = b',"prompt_token_ids":%b' % orjson.dumps([*range(PROMPT_TOKENS)])
        told = MAX_TOKENS.search(body)
        self.tokens = int(told[1]) if told else 100
        self._base = (
            b'data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion.chunk",'
            b'"created":1700000000,"model":"%b","choices":[' % model
        )
        self._after = b',"finish_reason":null%b}]}\n\n' % ids
        self._logprob = b"%f" % logprob if WANTS_LOGPROBS.search(body) else None
        opening = b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]%b}\n\n'
        self.opening = chunked(self._base + opening % prompt_ids)
        self._ending = b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
        self._wants_usage = WANTS_USAGE.search(body) is not None

    def token(self, stamp: int) -> bytes:
        """One of them."""
        text = b" %d" % stamp
        logprobs = b"null"
        if self._logprob is not None:
            logprobs = b'{"content":[{"token":"%b","logprob":%b,"bytes":[%b],"top_logprobs":[]}]}' % (
                text, self._logprob, b",".join([b"%d" % byte for byte in text])
            )  # fmt: skip
        return chunked(
            b'%b{"index":0,"delta":{"content":"%b"},"logprobs":%b%b' % (self._base, text, logprobs, self._after)
        )

    @property
    def ending(self) -> bytes:
        """What follows them."""
        counts = (PROMPT_TOKENS, self.tokens, PROMPT_TOKENS + self.tokens)
        usage = b'],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}\n\n' % counts
        told = self._base + usage if self._wants_usage else b""
        return chunked(self._base + self._ending) + chunked(told + b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection; one request after another."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(END_OF_HEADERS)
        length = LENGTH.search(head)
        if end and len(body) >= (int(length[1]) if length else 0):
            self._received = bytearray()
            self._answer(head, bytes(body))

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def resume_writing(self) -> None:
        if not self._interval_s:
            self._next = self._loop.call_soon(self._send)

    def _answer(self, head: bytes, body: bytes) -> None:
        if b"/chat/completions " in head:
            self._begin(body)
        elif b"/models " in head:
            self._transport.write(LISTED)
        else:
            self._transport.write(HEALTHY if b"/health " in head else UNKNOWN)

    def _begin(self, body: bytes) -> None:
        came = stamp()
        self._wording = Wording(body)
        self._sent, self._began_s = 1, self._loop.time()
        self._transport.write(HEAD + self._wording.opening + self._wording.token(came))
        self._later()

    def _later(self) -> None:
        if self._interval_s:
            due_s = self._began_s + self._sent * self._interval_s
            self._next = self._loop.call_at(due_s, self._send)
        elif not self._transport.get_write_buffer_size():
            self._next = self._loop.call_soon(self._send)

    def _send(self) -> None:
        wording = self._wording
        several = min(wording.tokens - self._sent, 1 if self._interval_s else AT_ONCE)
        written = b"".join([wording.token(stamp()) for _ in range(several)])
        self._sent += several
        if self._sent < wording.tokens:
            self._transport.write(written)
            self._later()
        else:
            self._next = None
            self._transport.write(written + wording.ending)


def stamp() -> int:
    """Microseconds."""
    return time.monotonic_ns() // 1000


async def serve(port: int, tokens_per_second: float) -> None:
    """Until it is stopped."""
    interval_s = 1 / tokens_per_second if tokens_per_second else 0.0
    server = await asyncio.get_running_loop().create_server(
        lambda: Upstream(interval_s), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
