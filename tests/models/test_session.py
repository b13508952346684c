"""The connections to all servers: which one is used again, how new ones are made, and what is never sent."""

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.certificates import certified
from fakes.raw import Peer, Raw, in_bytes, length_in, listening, saying
from fakes.waiting import until

from models.endpoint import Endpoint
from models.errors import Disconnected, NoConnection, TimedOut, Unreachable
from models.route import Route, route_to
from models.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="module")
OK = b"HTTP/1.1 200 OK\r\n"
YES = OK + b"content-length: 3\r\n\r\nyes"
ANSWER = (200, b"yes")
MANY = (YES,) * 5


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def ask(
    session: Session, to: str | Endpoint, headers: Mapping[str, str] | None = None, connect_s: float = 20.0
) -> tuple[int, bytes | None]:
    """The status and the body of a reply."""
    route = route_to(Endpoint(to, "m") if isinstance(to, str) else to, "POST", "/v1/x")
    with await session.sent(route, b"{}", headers, connect_s=connect_s, by_s=soon()) as reply:
        return reply.status, await reply.whole(1000)


async def test_a_connection_is_used_again_and_again() -> None:
    async with listening(saying(*MANY)) as server, Session() as session:
        assert [await ask(session, server.url) for _ in MANY] == [ANSWER] * 5
        assert server.connections == 1


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    meeting = asyncio.Barrier(3)

    async def talk(peer: Peer) -> None:
        await peer.request()
        await meeting.wait()
        await peer.say(YES)

    async with listening(talk) as server, Session() as session:
        assert await asyncio.gather(*(ask(session, server.url) for _ in range(3))) == [ANSWER] * 3
        assert server.connections == 3


async def test_another_place_has_connections_of_its_own() -> None:
    async with listening(saying(*MANY)) as one, listening(saying(*MANY)) as other, Session() as session:
        for server in (one, other, one, other):
            assert await ask(session, server.url) == ANSWER
        assert (one.connections, other.connections) == (1, 1)


async def test_what_was_idle_for_long_is_not_used_again_and_is_closed() -> None:
    async with listening(saying(*MANY)) as server, Session(keep_alive_s=0.0) as session:
        assert [await ask(session, server.url) for _ in range(2)] == [ANSWER] * 2
        assert server.connections == 2
        await until(lambda: server.left == 2)


async def test_what_nobody_needs_any_more_is_closed_though_nobody_asks_again() -> None:
    async with listening(saying(*MANY)) as server, Session(keep_alive_s=0.05) as session:
        await ask(session, server.url)
        await until(lambda: server.left == 1)
        assert await ask(session, server.url) == ANSWER
        await until(lambda: server.left == 2)


async def test_a_connection_that_its_server_closed_is_not_used_again() -> None:
    closed: list[asyncio.StreamWriter] = []

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(YES)
        peer.writer.close()
        await peer.writer.wait_closed()
        closed.append(peer.writer)

    async with listening(talk) as server, Session() as session:
        for times in range(1, 4):
            assert await ask(session, server.url) == ANSWER
            await until(lambda times=times: len(closed) == times)


def answer_and_close(listener: socket.socket) -> None:
    """Answer one request of the next client, and close."""
    client, _ = listener.accept()
    with client:
        said = b""
        while not said.endswith(b"{}"):
            said += client.recv(4096)
        client.sendall(YES)


async def test_what_a_busy_loop_could_not_see_does_no_harm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with Session() as session:
            for _ in range(3):
                answering = threading.Thread(target=answer_and_close, args=(listener,))
                answering.start()
                assert await ask(session, url) == ANSWER
                answering.join()  # the loop stands still while the server closes


async def test_a_used_connection_that_dies_before_a_word_says_so() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(YES)
        await peer.head()
        peer.writer.transport.abort()

    async with listening(talk) as server, Session() as session:
        assert await ask(session, server.url) == ANSWER
        with pytest.raises(Disconnected):
            await ask(session, server.url)
        assert await ask(session, server.url) == ANSWER


async def test_a_server_that_closes_whatever_connects_to_it_is_no_hang() -> None:
    async def close(peer: Peer) -> None:
        peer.writer.transport.abort()

    async with listening(close) as server, Session() as session:
        for _ in range(20):
            with pytest.raises(Disconnected):
                await ask(session, server.url)
            with pytest.raises(NoConnection):
                await ask(session, server.url.replace("http:", "https:"))


async def test_who_leaves_early_closes_the_connection() -> None:
    async with listening(saying(OK + b"content-length: 9\r\n\r\nyes")) as server, Session() as session:
        with await session.sent(route_to(Endpoint(server.url, "m"), "POST", "/"), by_s=soon()) as reply:
            assert await reply.readany() == b"yes"
        await until(lambda: server.left == 1)


async def test_a_closed_session_closes_what_is_idle_and_then_what_was_in_use() -> None:
    async with listening(saying(*MANY)) as server:
        async with Session() as session:
            await ask(session, server.url)
            using = await session.sent(route_to(Endpoint(server.url, "m"), "GET", "/"), by_s=soon())
            await ask(session, server.url)
        await until(lambda: server.left == 1)
        with using:
            assert await using.whole(10) == b"yes"
        await until(lambda: server.left == 2)


async def test_nobody_there_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async with Session() as session:
        with pytest.raises(NoConnection, match=f"{url}: "):
            await ask(session, url)


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 64 + ".example", "a..b"])
async def test_a_name_that_is_none_is_no_connection(host: str) -> None:
    async with Session() as session:
        with pytest.raises(NoConnection):
            await ask(session, f"http://{host}:1")


async def test_a_name_with_an_address_where_nobody_is_is_tried_at_the_next() -> None:
    async with listening(saying(YES)) as server, Session() as session:
        assert await ask(session, server.url.replace("127.0.0.1", "localhost")) == ANSWER


async def test_a_connection_that_does_not_come_in_time_is_late() -> None:
    async with listening(saying(YES)) as server, Session() as session:
        with pytest.raises(TimedOut) as caught:
            await ask(session, server.url, connect_s=0.0)
        assert str(caught.value) == f"{server.url} took longer than its limits allow"


async def test_a_request_that_is_late_before_it_begins_is_late() -> None:
    async with listening(saying(YES)) as server, Session() as session:
        with pytest.raises(TimedOut):
            await session.sent(route_to(Endpoint(server.url, "m"), "GET", "/"), by_s=soon(-1))


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_whoever_is_cancelled_at_any_step_leaves_nothing_open(
    steps: int, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = None if scheme == "http" else trusted(tmp_path, monkeypatch)
    open_before = sockets()

    async with listening(Peer.left, tls) as server, Session() as session:
        asking = asyncio.create_task(ask(session, server.url))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        await until(lambda: sockets() == open_before + 1)

    await until(lambda: sockets() == open_before)


def sockets() -> int:
    """How many this process has open."""
    return sum(is_socket(one) for one in Path("/proc/self/fd").iterdir())


def is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except OSError:
        return False


async def test_a_handshake_that_does_not_end_can_be_left() -> None:
    heard = asyncio.Event()

    async def say_nothing(peer: Peer) -> None:
        await peer.reader.read(1)
        heard.set()

    async with listening(say_nothing) as server, Session() as session:
        asking = asyncio.create_task(ask(session, server.url.replace("http:", "https:")))
        await heard.wait()
        asking.cancel()
        await until(lambda: server.left == 1)
        with pytest.raises(TimedOut):
            await ask(session, server.url.replace("http:", "https:"), connect_s=0.1)
        await until(lambda: server.left == 2)


def trusted(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str | None = None) -> ssl.SSLContext:
    """How a server shows a certificate that is trusted from now on."""
    certified(folder, name=name)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shows.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return shows


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    return trusted(tmp_path, monkeypatch)


async def test_a_certificate_that_is_trusted_is(tls: ssl.SSLContext) -> None:
    async with listening(saying(*MANY), tls) as server, Session() as session:
        assert [await ask(session, server.url) for _ in MANY] == [ANSWER] * 5
        assert server.connections == 1


async def test_a_connection_keeps_nothing_of_a_large_body_that_it_sent() -> None:
    body = b"x" * (4 * 2**20)
    kept = sys.getrefcount(body)

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(YES)
        await peer.request()

    async with listening(talk) as server, Session() as session:
        with await session.sent(route_to(Endpoint(server.url, "m"), "POST", "/v1/x"), body, by_s=soon()) as reply:
            assert await reply.whole(1000) == b"yes"
        assert sys.getrefcount(body) == kept


async def test_large_bodies_go_over_tls(tls: ssl.SSLContext) -> None:
    body = b"x" * (4 * 2**20)

    async def echo(peer: Peer) -> None:
        _, heard = await peer.request()
        await peer.say(OK + b"content-length: %d\r\n\r\n" % len(heard), heard)

    async with listening(echo, tls) as server, Session() as session:
        with await session.sent(route_to(Endpoint(server.url, "m"), "POST", "/"), body, by_s=soon()) as reply:
            assert await reply.whole(2**23) == body


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    async with listening(saying(YES), tls) as server, Session() as session:
        with pytest.raises(NoConnection, match="SSLCertVerificationError"):
            await ask(session, server.url)


async def test_a_certificate_of_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = trusted(tmp_path, monkeypatch, "tier.example")

    async with listening(saying(YES), tls) as server, Session() as session:
        with pytest.raises(NoConnection, match="SSLCertVerificationError"):
            await ask(session, server.url)


async def test_a_name_that_was_looked_up_is_the_one_that_the_certificate_must_bear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = trusted(tmp_path, monkeypatch, "tier.example")
    asked_for: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    async def talk(peer: Peer) -> None:
        head = await peer.head()
        await peer.reader.readexactly(length_in(head))
        asked_for.append(next(line for line in head.decode().split("\r\n") if line.startswith("host:")))
        await peer.say(YES)

    async with listening(talk, tls) as server, Session() as session:
        port = server.url.rpartition(":")[2]
        named = Endpoint(f"https://tier.example:{port}", "m", address="127.0.0.1")
        assert await ask(session, named) == ANSWER

    assert asked_for == ["tier.example", f"host: tier.example:{port}"]


async def test_a_body_over_tls_may_end_with_its_connection(tls: ssl.SSLContext) -> None:
    async def end(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"\r\nyes")
        peer.writer.close()

    async with listening(end, tls) as server, Session() as session:
        assert await ask(session, server.url) == ANSWER


@pytest.mark.asyncio(loop_scope="module", loop_factories=["uvloop"])  # the interpreter's own cannot tell them apart
async def test_a_body_over_tls_ends_only_where_its_server_says_so(tls: ssl.SSLContext) -> None:
    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"\r\nyes")
        peer.writer.transport.abort()

    async with listening(cut, tls) as server, Session() as session:
        with pytest.raises(Unreachable):
            await ask(session, server.url)


class Follower:
    """Tells servers one thing, and remembers what they said."""

    def __init__(self) -> None:
        self.headers = {"traceparent": "it"}
        self.heard: list[object] = []

    @contextmanager
    def follow(self, route: Route) -> Iterator["Follower"]:
        self.heard.append(route.method)
        try:
            yield self
        except BaseException as failed:
            self.heard.append(type(failed))
            raise

    def answered(self, status: int) -> None:
        self.heard.append(status)


async def test_who_follows_requests_tells_their_servers_and_hears_what_became_of_them() -> None:
    follower, heads = Follower(), list[bytes]()

    async def talk(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        await peer.say(YES)
        await peer.request()
        peer.writer.close()

    async with listening(talk) as server, Session(follower.follow) as session:
        await ask(session, server.url, {"x-request-id": "one"})
        with pytest.raises(Disconnected):
            await ask(session, server.url)

    assert b"\r\nx-request-id: one\r\n" in heads[0]
    assert b"\r\ntraceparent: it\r\n" in heads[0]
    assert follower.heard == ["POST", 200, "POST", Disconnected]


async def test_what_is_sent_is_what_servers_expect() -> None:
    heads: list[bytes] = []

    async def talk(peer: Peer) -> None:
        for _ in range(2):
            heads.append((await peer.request())[0])
            await peer.say(*in_bytes(YES))

    async with listening(talk) as server, Session() as session:
        endpoint = Endpoint(server.url, "m", "secret")
        for method in ("GET", "POST"):
            with await session.sent(route_to(endpoint, method, "/v1/x"), by_s=soon()) as reply:
                await reply.whole(10)

    shared = f"""host: {server.url.removeprefix("http://")}
accept: */*
accept-encoding: identity
user-agent: smallfirst
content-type: application/json
authorization: Bearer secret
"""
    got, posted = (head.decode().replace("\r\n", "\n") for head in heads)
    assert got == f"GET /v1/x HTTP/1.1\n{shared}\n"
    assert posted == f"POST /v1/x HTTP/1.1\n{shared}content-length: 0\n\n"


@pytest.mark.parametrize("value", ["a\r\nx: 1", "a\nx: 1", "a\rx: 1", "a\0", "a\x7f", "a\x85b", "a\u2028b"])
async def test_a_header_never_is_more_than_its_line(value: str) -> None:
    async with listening(saying(YES)) as server, Session() as session:
        with pytest.raises(ValueError, match="cannot be sent"):
            await ask(session, server.url, {"x-request-id": value})
        with pytest.raises(ValueError, match="cannot be sent"):
            await ask(session, Endpoint(server.url, "m", api_key=value))
        assert server.connections == 0


async def test_proxies_that_the_environment_names_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(saying(YES)) as proxy, listening(saying(YES)) as server, Session() as session:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert await ask(session, server.url) == ANSWER
        assert proxy == Raw(url=proxy.url)
