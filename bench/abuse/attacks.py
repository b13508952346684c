"""What somebody tries who means harm, and what must come of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wire import Reply, request, sent

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is 7 times 8?"}], "temperature": 0}
BODY = json.dumps(ASK).encode()
SQL = [
    "' OR '1'='1",
    "x'; DROP TABLE decisions; --",
    "1 UNION SELECT secret FROM keys",
    "%00",
    "\\",
    "a" * 161,
    "../../etc",
]
FORGED = '{"event": "forged", "level": "info"}'


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway, the keys of two tenants, and a response of the first one's."""

    host: str
    port: int
    ours: str
    theirs: str
    response_id: str

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.host, self.port

    def key(self, value: str | None = None) -> bytes:
        """The header with a key; the first tenant's unless told."""
        return b"authorization: Bearer " + (self.ours if value is None else value).encode()


@dataclass(frozen=True, slots=True)
class Attack:
    """Its name, what it sends, and the statuses that may come back (0: the connection is closed)."""

    name: str
    run: Callable[[Target], Awaitable[Sequence[Reply]]]
    may_be: frozenset[int]


async def wrong_keys(target: Target) -> Sequence[Reply]:
    """No key, and keys that are none."""
    known = target.ours
    headers: list[list[bytes]] = [
        [], [b"authorization:"], [b"authorization: Bearer"], [b"authorization: Bearer "],
        [b"authorization: Basic eDp5"],
        [target.key("x")], [target.key(known[:-1])], [target.key(known + "x")], [target.key(known.upper())],
        [target.key(known[: len(known) // 2] + target.theirs[len(known) // 2 :])], [target.key("sf-" + "ü" * 40)],
        [b"x-api-key: " + b"a" * 4096], [target.key(known[:-1]), b"x-api-key: y"],
        [b"x-forwarded-for: 127.0.0.1", b"x-real-ip: 127.0.0.1"],
    ]  # fmt: skip
    replies = [await sent(target.address, [request(BODY, *one)]) for one in headers]
    in_query = b"/v1/chat/completions?api_key=" + known.encode()
    return [*replies, await sent(target.address, [request(BODY, path=in_query)])]


async def of_others(target: Target) -> Sequence[Reply]:
    """The second tenant asks for what the first one did, and both for what is an operator's."""
    other = target.key(target.theirs)
    said = json.dumps({"id": target.response_id, "label": "wrong"}).encode()
    paths = [
        b"/v1/decisions/" + target.response_id.encode(),
        b"/admin/keys",
        b"/admin/usage",
        b"/v1/responses/" + target.response_id.encode(),
    ]
    replies = [await sent(target.address, [request(b"", other, path=path, method=b"GET")]) for path in paths]
    return [*replies, await sent(target.address, [request(said, other, path=b"/v1/feedback")])]


async def too_large(target: Target) -> Sequence[Reply]:
    """Bodies that are too much, announced and not."""
    huge = [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" + target.key()
        + b"\r\ncontent-length: 1000000000000\r\n\r\n"
    ]  # fmt: skip
    chunks = [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" + target.key()
        + b"\r\ntransfer-encoding: chunked\r\n\r\n",
        *[b"100000\r\n" + b" " * 2**20 + b"\r\n" for _ in range(24)], b"0\r\n\r\n",
    ]  # fmt: skip
    deep = b'{"model": "auto", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    wide = json.dumps({**ASK, "smallfirst": {f"k{n}": n for n in range(200_000)}}).encode()
    long_number = b'{"model": "auto", "messages": [], "seed": ' + b"9" * 100_000 + b"}"
    bodies = [request(body, target.key()) for body in (deep, wide, long_number, b"\xff\xfe" * 1000, b"{}", b"[]", b"")]
    return [await sent(target.address, pieces) for pieces in (huge, chunks, *([body] for body in bodies))]


async def odd_headers(target: Target) -> Sequence[Reply]:
    """Headers that parsers trip over, or that smuggle a second request in."""
    many = [b"x-%d: y" % number for number in range(2000)]
    two = [
        request(BODY, target.key(), b"content-length: 5"), request(BODY, target.key(), b"transfer-encoding: chunked"),
        request(BODY, target.key(), b"x-long: " + b"a" * 2**20), request(BODY, target.key(), *many),
        request(BODY, target.key(), b"x-null: a\x00b"), request(BODY, target.key(), b" folded: yes"),
        request(BODY, target.key(), b"content-type: text/plain"), b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        request(BODY, target.key()).replace(b"HTTP/1.1", b"HTTP/9.9"),
        request(BODY, target.key()).replace(b"content-length: ", b"content-length: -"),
    ]  # fmt: skip
    return [await sent(target.address, [one]) for one in two]


async def injections(target: Target) -> Sequence[Reply]:
    """SQL in ids, and lines and colours for the log in names."""
    replies = []
    for text in SQL:
        quoted = "".join(f"%{byte:02x}" for byte in text.encode()).encode()
        path = b"/v1/decisions/" + quoted
        replies.append(await sent(target.address, [request(b"", target.key(), path=path, method=b"GET")]))
        said = json.dumps({"id": text, "label": "wrong"}).encode()
        replies.append(await sent(target.address, [request(said, target.key(), path=b"/v1/feedback")]))
    for model in (f"auto\n{FORGED}", "\x1b[31mred", "auto' --", "\u202e", "a" * 100_000):
        body = json.dumps({**ASK, "model": model}).encode()
        replies.append(await sent(target.address, [request(body, target.key())]))
    return replies


async def slow_bodies(target: Target) -> Sequence[Reply]:
    """Many clients that send a byte now and then, headers or body."""
    whole = request(BODY, target.key())
    head, body = whole[: len(whole) - len(BODY)], BODY
    dripped = [head, *[body[place : place + 1] for place in range(len(body))]]
    headers = [whole[place : place + 1] for place in range(len(whole))]
    return await asyncio.gather(*(
        sent(target.address, pieces, pause_s=1.0) for pieces in [dripped] * 50 + [headers] * 50
    ))  # fmt: skip


ATTACKS = (
    Attack("keys that are none", wrong_keys, frozenset({401})),
    Attack("what is another tenant's", of_others, frozenset({401, 403, 404, 405})),
    Attack("bodies that are too much", too_large, frozenset({400, 413})),
    Attack("odd headers", odd_headers, frozenset({0, 200, 400, 413, 415, 431})),
    Attack("SQL and log injection", injections, frozenset({400, 404})),
    Attack("bodies and headers that never end", slow_bodies, frozenset({0, 408, 400})),
)
