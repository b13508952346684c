"""One connection: what servers may answer, what they may not, and how much of either is kept."""

import asyncio
import gzip
import hashlib
import socket
import struct
from collections.abc import Callable, Iterable

import pytest
from fakes.raw import Peer, in_bytes, listening, saying
from fakes.waiting import until

from models.connection import MAX_UNREAD_BYTES, SENT_AT_ONCE_BYTES, Connection
from models.endpoint import Endpoint
from models.errors import BadReply, Disconnected, TimedOut, Unreachable
from models.route import Method, Route, route_to
from models.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="module")
MOST = 2**26
LARGE = b"x" * (8 * 2**20)
OK = b"HTTP/1.1 200 OK\r\n"
YES = OK + b"content-length: 3\r\n\r\nyes"
PIECES: dict[str, Callable[[bytes], list[bytes]]] = {"at once": lambda reply: [reply], "byte by byte": in_bytes}


def path_to(url: str, method: Method = "POST") -> Route:
    return route_to(Endpoint(url, "m"), method, "/v1/x")


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def ask(session: Session, url: str, body: bytes = b"{}", within_s: float = 20.0) -> tuple[int, bytes | None]:
    """The status and the body of a reply."""
    with await session.sent(path_to(url), body, by_s=soon(within_s)) as reply:
        return reply.status, await reply.whole(MOST)


GOOD: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (YES, 200, b"yes", True),
    "no body": (OK + b"content-length: 0\r\n\r\n", 200, b"", True),
    "names in capitals": (OK + b"CONTENT-LENGTH: 3\r\n\r\nyes", 200, b"yes", True),
    "an empty header": (OK + b"x-empty:\r\ncontent-length: 3\r\n\r\nyes", 200, b"yes", True),
    "one header twice": (OK + b"x: 1\r\nx: 2\r\ncontent-length: 3\r\n\r\nyes", 200, b"yes", True),
    "chunks": (OK + b"transfer-encoding: chunked\r\n\r\n1\r\ny\r\n2\r\nes\r\n0\r\n\r\n", 200, b"yes", True),
    "chunks with extensions": (
        OK + b'Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\ny\r\n2;c="d"\r\nes\r\n0;e\r\n\r\n', 200, b"yes", True,
    ),
    "blanks behind values": (
        OK + b"transfer-encoding: chunked \r\ncontent-encoding: identity\t\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
        200, b"yes", True,
    ),
    "trailers": (
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nx: 1\r\ncontent-encoding: gzip\r\n\r\n",
        200, b"yes", True,
    ),
    "hints before it": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + YES, 200, b"yes", True,
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 304, b"", True),
    "close": (OK + b"connection: close\r\ncontent-length: 3\r\n\r\nyes", 200, b"yes", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nyes", 200, b"yes", False),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nyes", 200, b"yes", True,
    ),
    "identity": (OK + b"content-encoding: identity\r\ncontent-length: 3\r\n\r\nyes", 200, b"yes", True),
}  # fmt: skip


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize(("reply", "status", "body", "stays"), GOOD.values(), ids=GOOD)
async def test_a_reply_is_read_whole_and_its_connection_used_again_where_it_stays(
    reply: bytes, status: int, body: bytes, stays: bool, pieces: Callable[[bytes], list[bytes]]
) -> None:
    async def talk(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.say(*pieces(reply))

    async with listening(talk) as server, Session() as session:
        assert [await ask(session, server.url) for _ in range(2)] == [(status, body)] * 2
        assert server.connections == (1 if stays else 2)


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_body_without_a_length_ends_with_its_connection(
    version: bytes, pieces: Callable[[bytes], list[bytes]]
) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces(b"HTTP/%s 200 OK\r\n\r\nyes" % version))
        peer.writer.write_eof()

    async with listening(talk) as server, Session() as session:
        assert await ask(session, server.url) == (200, b"yes")


async def test_a_headers_value_ends_with_its_last_word() -> None:
    reply = OK + b"retry-after: 7 \t\r\ncontent-length: 3\r\n\r\nyes"

    async with listening(saying(reply)) as server, Session() as session:
        with await session.sent(path_to(server.url), by_s=soon()) as answer:
            assert answer.header("retry-after") == "7"


async def test_what_comes_after_a_body_is_no_header() -> None:
    async with listening(saying(GOOD["trailers"][0])) as server, Session() as session:
        with await session.sent(path_to(server.url), by_s=soon()) as reply:
            await reply.whole(MOST)
            assert (reply.header("transfer-encoding"), reply.header("x")) == ("chunked", None)


NO_HTTP = {
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a page": b"<html>no</html>",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a status that is none": b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello",
    "a body before the reply": b"HTTP/1.1 150 What\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n",
    "endless hints": b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
    "an endless header": OK + b"x: " + b"x" * 400_000,
    "an endless name": OK + b"x" * 400_000,
    "many headers": OK + b"".join(b"x-%d: 1\r\n" % n for n in range(300)) + b"content-length: 0\r\n\r\n",
    "a folded header": OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a header without a name": OK + b": a\r\ncontent-length: 0\r\n\r\n",
    "a space after a name": OK + b"content-length : 0\r\n\r\n",
    "a header of two lines in one": OK + b"x: a\rcontent-length: 0\r\n\r\n",
    "no carriage returns": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "length and chunks": OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
    "chunks and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 3\r\ncontent-length: 2\r\n\r\nyes",
    "one length twice": OK + b"content-length: 3\r\ncontent-length: 3\r\n\r\nyes",
    "a list of lengths": OK + b"content-length: 3, 3\r\n\r\nyes",
    "a negative length": OK + b"content-length: -3\r\n\r\nyes",
    "a length with a sign": OK + b"content-length: +3\r\n\r\nyes",
    "a length beyond numbers": OK + b"content-length: 99999999999999999999999\r\n\r\nyes",
    "an unknown transfer": OK + b"transfer-encoding: gzip\r\n\r\nyes",
    "a transfer of two kinds": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("reply", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_reply_is_a_broken_connection(reply: bytes) -> None:
    async with listening(saying(reply)) as server, Session() as session:
        with pytest.raises(Disconnected, match="no HTTP: ") as caught:
            await ask(session, server.url)

        assert str(caught.value).startswith(server.url)
        await until(lambda: server.left == 1)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20", OK + b"content-length: 3\r\n"], ids=["nothing", "half", "most"])
async def test_a_server_that_closes_before_its_reply_broke_the_connection(said: bytes) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        peer.writer.close()

    async with listening(talk) as server, Session() as session:
        with pytest.raises(Disconnected, match="closed the connection"):
            await ask(session, server.url)


CUT = {
    "a length": OK + b"content-length: 9\r\n\r\nyes",
    "a length and nothing": OK + b"content-length: 9\r\n\r\n",
    "between chunks": OK + b"transfer-encoding: chunked\r\n\r\n3\r\nyes\r\n",
    "within a chunk": OK + b"transfer-encoding: chunked\r\n\r\n9\r\nyes",
    "before the last line": OK + b"transfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n",
}
WRONG = {
    "a negative chunk": OK + b"transfer-encoding: chunked\r\n\r\n-3\r\nyes\r\n",
    "a chunk beyond numbers": OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nyes",
    "a chunk longer than it says": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nyes\r\n0\r\n\r\n",
    "endless trailers": OK + b"transfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n" + b"x: 1\r\n" * 100_000,
    "an endless extension": OK + b"transfer-encoding: chunked\r\n\r\n3;" + b"x" * 400_000,
}


@pytest.mark.parametrize("end", ["close", "half", "reset"])
@pytest.mark.parametrize("reply", CUT.values(), ids=CUT)
async def test_a_body_that_is_cut_off_is_never_a_short_one(reply: bytes, end: str) -> None:
    read = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(reply)
        await read.wait()
        if end == "half":
            peer.writer.write_eof()
            return
        if end == "reset":
            linger = struct.pack("ii", 1, 0)
            peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.writer.close()

    async with listening(talk) as server, Session() as session:
        with await session.sent(path_to(server.url), by_s=soon()) as answer:
            read.set()
            with pytest.raises(Unreachable) as caught:
                await answer.whole(MOST)
            assert not isinstance(caught.value, Disconnected), "it had begun to answer"


@pytest.mark.parametrize("reply", WRONG.values(), ids=WRONG)
async def test_a_body_that_goes_wrong_is_an_error(reply: bytes) -> None:
    async with listening(saying(reply)) as server, Session() as session:
        with pytest.raises(Unreachable, match="no HTTP"):
            await ask(session, server.url)


async def test_what_came_before_a_failure_is_read_first() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(CUT["a length"])
        peer.writer.close()

    async with listening(talk) as server, Session() as session:
        with await session.sent(path_to(server.url), by_s=soon()) as answer:
            assert await answer.readany() == b"yes"
            with pytest.raises(Unreachable):
                await answer.readany()


@pytest.mark.parametrize("coding", ["gzip", "br", "Zstd"])
async def test_a_compressed_reply_is_refused_by_name(coding: str) -> None:
    body = gzip.compress(b"yes")
    reply = OK + b"content-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (coding.encode(), len(body)) + body

    async with listening(saying(reply)) as server, Session() as session:
        with await session.sent(path_to(server.url), by_s=soon()) as answer:
            assert answer.status == 200, "the status counts, and can be read"
            with pytest.raises(BadReply, match="compressed its reply though it was asked not to: switch that off"):
                await answer.whole(MOST)


async def test_a_second_reply_that_came_along_ends_the_connection_and_not_the_first() -> None:
    async with listening(saying(YES + OK + b"content-length: 2\r\n\r\nno")) as server, Session() as session:
        assert [await ask(session, server.url) for _ in range(2)] == [(200, b"yes")] * 2
        assert server.connections == 2


async def test_a_reply_that_nobody_asked_for_is_nobodys() -> None:
    say, said = asyncio.Event(), asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(YES)
        await say.wait()
        await peer.say(OK + b"content-length: 2\r\n\r\nno")
        said.set()

    async with listening(talk) as server, Session() as session:
        await ask(session, server.url)
        say.set()
        await said.wait()
        assert await ask(session, server.url) == (200, b"yes")
        await until(lambda: server.left == 1)


async def test_a_large_body_comes_whole() -> None:
    seen: list[str] = []

    async def talk(peer: Peer) -> None:
        for _ in range(2):
            seen.append(hashlib.sha256((await peer.request())[1]).hexdigest())
            await peer.say(YES)

    async with listening(talk) as server, Session() as session:
        assert [await ask(session, server.url, LARGE) for _ in range(2)] == [(200, b"yes")] * 2
        assert server.connections == 1

    assert seen == [hashlib.sha256(LARGE).hexdigest()] * 2


async def test_a_server_may_answer_before_it_has_heard_all() -> None:
    async def talk(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")

    async with listening(talk) as server, Session(keep_alive_s=60.0) as session:
        assert await ask(session, server.url, LARGE * 4) == (413, b"no")
        await until(lambda: server.left == 1)
        assert await ask(session, server.url, LARGE * 4) == (413, b"no")
        assert server.connections == 2


async def test_a_server_that_leaves_while_it_is_told_is_no_hang() -> None:
    async def talk(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.abort()

    async with listening(talk) as server, Session() as session:
        with pytest.raises(Disconnected):
            await ask(session, server.url, LARGE * 4)


async def test_a_large_reply_comes_whole() -> None:
    reply = OK + b"content-length: %d\r\n\r\n" % len(LARGE) + LARGE

    async with listening(saying(reply)) as server, Session() as session:
        status, body = await ask(session, server.url)
        assert (status, hashlib.sha256(body or b"").digest()) == (200, hashlib.sha256(LARGE).digest())


async def test_a_reply_that_is_too_large_is_not_kept() -> None:
    async with (
        listening(saying(OK + b"content-length: %d\r\n\r\n" % len(LARGE) + LARGE)) as server,
        Session() as session,
    ):
        with await session.sent(path_to(server.url), by_s=soon()) as answer:
            assert await answer.whole(2**20) is None
        await until(lambda: server.left == 1)


class Wire(asyncio.Transport):
    """A transport that remembers what is written, and whether it reads."""

    def __init__(self) -> None:
        super().__init__({"socket": socket.socket()})
        self.written: list[bytes] = []
        self.parts: list[bytes] = []
        self.reads = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        parts = [bytes(part) for part in list_of_data]
        self.parts += parts
        self.written.append(b"".join(parts))

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.get_extra_info("socket").fileno() < 0

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.get_extra_info("socket").close()


def wired(body: bytes = b"{}") -> tuple[Wire, Connection]:
    """A connection that has sent this."""
    wire, connection = Wire(), Connection(asyncio.get_running_loop(), lambda one: one.abort())
    connection.connection_made(wire)
    connection.send(path_to("http://a:1"), b"", body)
    return wire, connection


async def test_a_connection_that_closed_before_it_was_of_use_is_a_broken_one() -> None:
    wire, connection = Wire(), Connection(asyncio.get_running_loop(), lambda one: one.abort())
    connection.connection_made(wire)
    connection.eof_received()

    connection.send(path_to("http://a:1"), b"", b"{}")

    with pytest.raises(Disconnected, match="closed the connection"):
        await connection.head()
    assert wire.written == []


async def test_a_request_without_a_body_is_one_part() -> None:
    wire, _ = wired(b"")

    assert wire.parts == wire.written


async def test_who_does_not_read_lets_the_server_wait() -> None:
    wire, connection = wired()
    part = b"x" * (MAX_UNREAD_BYTES // 2)

    with connection:
        connection.data_received(OK + b"content-length: %d\r\n\r\n" % (4 * len(part)))
        readings = []
        for _ in range(3):
            connection.data_received(part)
            readings.append(wire.reads)
        assert readings == [True, True, False]
        assert len(await connection.readany()) == 3 * len(part)
        assert wire.reads


async def test_a_large_body_goes_in_parts_between_which_others_go_on_and_as_far_as_the_server_takes_it() -> None:
    wire, connection = wired(b"x" * (4 * SENT_AT_ONCE_BYTES))

    with connection:
        sizes = [len(b"".join(wire.written[1:]))]
        await asyncio.sleep(0)
        sizes.append(len(b"".join(wire.written[1:])))
        connection.pause_writing()
        for _ in range(5):
            await asyncio.sleep(0)
        sizes.append(len(b"".join(wire.written[1:])))
        connection.resume_writing()
        for _ in range(5):
            await asyncio.sleep(0)
        sizes.append(len(b"".join(wire.written[1:])))

    assert [size // SENT_AT_ONCE_BYTES for size in sizes] == [1, 2, 2, 4]


async def test_whoever_reads_gets_the_error_that_is_set_once_all_is_read() -> None:
    _, connection = wired()

    with connection:
        connection.data_received(OK + b"content-length: 9\r\n\r\nyes")
        connection.set_exception(TimeoutError("late"))
        assert await connection.readany() == b"yes"
        with pytest.raises(TimeoutError, match="late"):
            await connection.readany()


async def test_an_error_that_is_set_after_the_end_is_none() -> None:
    _, connection = wired()

    with connection:
        connection.data_received(YES)
        connection.set_exception(TimeoutError("late"))
        assert await connection.whole(MOST) == b"yes"


@pytest.mark.parametrize("said", [b"", CUT["a length"]], ids=["no head", "half a body"])
async def test_what_takes_too_long_is_told_and_its_connection_closed(said: bytes) -> None:
    async with listening(saying(said)) as server, Session() as session:
        with pytest.raises(TimedOut) as caught:
            await ask(session, server.url, within_s=0.05)

        assert str(caught.value) == f"{server.url} took longer than its limits allow"
        await until(lambda: server.left == 1)


@pytest.mark.parametrize("said", [b"", CUT["a length"]], ids=["no head", "half a body"])
async def test_who_is_cancelled_closes_the_connection_at_once(said: bytes) -> None:
    came = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        came.set()

    async with listening(talk) as server, Session() as session:
        asking = asyncio.create_task(ask(session, server.url))
        await came.wait()
        asking.cancel()
        await until(lambda: server.left == 1)
        assert asking.cancelled()
