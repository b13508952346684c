"""Clients at the wire: headers without end, headers that do not come, answers that nobody reads. Real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from fakes.certificates import certified
from fakes.gateway import running_app
from fakes.scripted import Script
from fakes.waiting import until
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from server.app import create_app
from server.settings.schema import Settings
from server.stopping import unless_gone

TIERS = {"small": {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://127.0.0.1:9"]}}
HELLO = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n"


async def dialled(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def said_to(url: str, *parts: bytes) -> bytes:
    """All that comes back until the connection ends; it must end."""
    reader, writer = await dialled(url)
    async with asyncio.timeout(20):
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass
        answer = bytearray()
        try:
            while part := await reader.read(65536):
                answer += part
        except ConnectionError:
            pass
    writer.close()
    return bytes(answer)


@pytest.mark.parametrize(
    "parts",
    [
        (HELLO + b"x: " + b"y" * 70_000 + b"\r\n\r\n",),
        (HELLO + b"x: ", *[b"y" * 10_000] * 100, b"\r\n\r\n"),
        (HELLO + b"x: ", *[b"y" * 10_000] * 100),
        (HELLO, *[b"x: y\r\n"] * 20_000, b"\r\n"),
        (HELLO + b"".join(b"x%d: y\r\n" % number for number in range(300)) + b"\r\n",),
        (b"GET /" + b"x" * 1_000_000, b" HTTP/1.1\r\n\r\n"),
        (HELLO + b"authorization: Bearer " + b"k" * 1_000_000 + b"\r\n\r\n",),
    ],
)
async def test_headers_beyond_the_bounds_are_refused(gateway, parts: tuple[bytes, ...]) -> None:
    cascade = await gateway(small=Script(), large=Script())

    answer = await said_to(cascade.url, *parts)

    assert answer == b"" or b" 431 " in answer.partition(b"\r\n")[0] + b" "
    assert b" 200 " not in answer
    async with aiohttp.ClientSession() as session, session.get(f"{cascade.url}/health") as reply:
        assert reply.status == 200


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/nothing"])
@pytest.mark.parametrize(
    "more",
    [
        b"0\r\nx: " + b"y" * 1_000_000,
        b"0\r\n" + b"x: y\r\n" * 200_000,
        b"1;x=" + b"y" * 1_000_000,
        b"2\r\n{}\r\n0\r\nx: " + b"y" * 1_000_000,
    ],
)
async def test_what_comes_behind_a_body_is_bounded_as_headers_are(gateway, path: bytes, more: bytes) -> None:
    cascade = await gateway(small=Script(), large=Script())
    asked = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" % path
    reader, writer = await dialled(cascade.url)
    sent = 0

    with contextlib.suppress(ConnectionError):
        writer.write(asked + b"transfer-encoding: chunked\r\n\r\n")
        while sent < len(more):
            writer.write(more[sent : sent + 10_000])
            sent += 10_000
            await writer.drain()
            await asyncio.sleep(0)  # the gateway reads in this very loop
        async with asyncio.timeout(2):
            await reader.read()
    writer.close()

    assert sent < len(more)


async def test_a_body_in_many_parts_may_be_large_and_have_something_behind_it(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script())
    asked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    words = b'{"model": "small", "messages": [{"role": "user", "content": "%b"}]}' % (b"x" * 500_000)
    parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in (words[:300_000], words[300_000:])]

    answer = await said_to(
        cascade.url, asked + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n", *parts, b"0\r\nx: y\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 200")


async def test_headers_within_the_bounds_are_not(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())
    many = HELLO + b"".join(b"x%d: y\r\n" % number for number in range(200)) + b"x: " + b"y" * 50_000 + b"\r\n"

    for end in (b"connection: close\r\n\r\n", b"connection: close\r\ncontent-length: 3\r\n\r\nabc"):
        assert (await said_to(cascade.url, many + end)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"GET /health HTTP/1.1\r\n", b"HTTP/1.1 408"),
        (HELLO + b"x: y", b"HTTP/1.1 408"),
        (HELLO + b"\r\n", b"HTTP/1.1 200"),
        (HELLO + b"\r\n\r\n", b"HTTP/1.1 200"),
        (HELLO + b"\r\n" + HELLO, b"HTTP/1.1 200"),
        (b"POST /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000\r\n\r\nx", b"HTTP/1.1 404"),
    ],
)
async def test_who_does_not_get_on_is_left(gateway, first: bytes, answer: bytes) -> None:
    """Whether it says nothing, stops in its headers, or in a body that nobody reads: the connection ends."""
    cascade = await gateway(small=Script(), large=Script(), server={"headers_s": 0.3})

    assert (await said_to(cascade.url, first)).startswith(answer)


async def test_who_sends_a_little_now_and_then_is_left_too(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script(), server={"headers_s": 0.3})
    reader, writer = await dialled(cascade.url)

    async with asyncio.timeout(20):
        writer.write(HELLO)
        while not reader.at_eof() and not writer.is_closing():
            try:
                writer.write(b"x: y\r\n")
                await writer.drain()
            except ConnectionError:
                break
            with_answer = asyncio.ensure_future(reader.read(1000))
            done, _ = await asyncio.wait((with_answer,), timeout=0.05)
            if done:
                break
            with_answer.cancel()
            await asyncio.gather(with_answer, return_exceptions=True)
    writer.close()


async def test_an_answer_that_nobody_reads_is_given_up_and_one_that_is_read_is_not() -> None:
    settings = Settings.model_validate({"tiers": TIERS, "server": {"send_s": 0.5}, "store": {"url": "none"}})
    app, given_up, large = create_app(settings), asyncio.Event(), b"x" * (8 * 2**20)

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 2**16
                await asyncio.sleep(0)  # to be told that nobody is there any more
        finally:
            given_up.set()

    app.add_api_route("/endless", lambda: StreamingResponse(endless()))
    app.add_api_route("/large", lambda: Response(large))

    async with running_app(app) as url, asyncio.timeout(20):
        _, deaf = await dialled(url)
        deaf.transport.pause_reading()
        deaf.write(HELLO.replace(b"/health", b"/endless") + b"\r\n")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/large") as reply:
            assert await reply.read() == large
        await given_up.wait()
        deaf.close()


async def test_the_end_of_an_answer_that_nobody_reads_is_given_up_too() -> None:
    settings = Settings.model_validate({"tiers": TIERS, "server": {"send_s": 0.5}, "store": {"url": "none"}})
    app, large = create_app(settings), b"x" * (16 * 2**20)
    app.add_api_route("/large", lambda: Response(large))

    async with running_app(app) as url, asyncio.timeout(20):
        reader, deaf = await dialled(url)
        deaf.transport.pause_reading()
        deaf.write(HELLO.replace(b"/health", b"/large") + b"\r\n")
        await until(lambda: len(app.state.connections) == 1)
        await until(lambda: not app.state.connections)
        deaf.transport.resume_reading()
        got = 0
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(2**20):
                got += len(part)
        deaf.close()

    assert 0 < got < len(large)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1, and its key."""
    return certified(tmp_path_factory.mktemp("tls"))


async def test_whoever_leaves_while_several_requests_wait_is_no_mistake_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings.model_validate({"tiers": TIERS, "store": {"url": "none"}})
    app, waits, stopped = create_app(settings), asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, _send: Send) -> None:
        waits.set()
        await unless_gone(asyncio.Event().wait(), scope, receive)
        stopped.set()

    app.mount("/waits", wait)
    waiting = HELLO.replace(b"/health", b"/waits/") + b"\r\n"
    async with running_app(app) as url, asyncio.timeout(10):
        _, writer = await dialled(url)
        writer.write(HELLO + b"\r\n" + 2 * waiting)
        await waits.wait()
        writer.close()
        await stopped.wait()

    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_tls_is_1_2_or_newer(certificate: Path) -> None:
    tls = {"certificate": str(certificate / "cert.pem"), "key": str(certificate / "key.pem")}
    settings = Settings.model_validate({"tiers": TIERS, "server": {"tls": tls}, "store": {"url": "none"}})

    async with running_app(create_app(settings)) as url:
        url = url.replace("http://", "https://")
        trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        async with aiohttp.ClientSession() as session, session.get(f"{url}/health", ssl=trusting) as reply:
            assert reply.status == 200
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(str(certificate / "cert.pem"))
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{url}/health", ssl=old)


@pytest.mark.parametrize(
    ("certificate_is", "key_is", "mistake"),
    [
        ("good", "good", None),
        ("garbage", "good", "PEM files that OpenSSL can read"),
        ("good", "garbage", "PEM files that OpenSSL can read"),
        ("good", "other", "key: is not that of the certificate"),
        ("locked", "locked", "key: has a password"),
    ],
)
def test_a_certificate_that_cannot_be_served_is_a_mistake_of_the_configuration(
    tmp_path: Path, certificate_is: str, key_is: str, mistake: str | None
) -> None:
    for name, password in (("good", None), ("other", None), ("locked", b"secret")):
        (tmp_path / name).mkdir()
        certified(tmp_path / name, password=password)
    (tmp_path / "garbage").mkdir()
    for name in ("cert.pem", "key.pem"):
        (tmp_path / "garbage" / name).write_text("no PEM")
    tls = {"certificate": f"{certificate_is}/cert.pem", "key": f"{key_is}/key.pem"}
    config = {"tiers": TIERS, "server": {"tls": tls}}

    if mistake is None:
        Settings.model_validate(config, context=tmp_path)
        return
    with pytest.raises(ValidationError, match=mistake) as wrong:
        Settings.model_validate(config, context=tmp_path)
    assert [error["loc"] for error in wrong.value.errors()] == [("server", "tls")]


async def test_pages_of_other_origins_are_let_in_by_name_alone(gateway) -> None:
    named = await gateway(small=Script("yes"), large=Script(), server={"cors": ["https://app.example"]})
    closed = await gateway(small=Script("yes"), large=Script())
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}

    async with aiohttp.ClientSession() as session:
        for cascade, origin, allowed in (
            (named, "https://app.example", "https://app.example"), (named, "https://app.example.evil.test", None),
            (named, "null", None), (closed, "https://app.example", None),
        ):  # fmt: skip
            headers = {"origin": origin}
            async with session.options(f"{cascade.url}/v1/models", headers={**headers, **asking}) as reply:
                assert reply.headers.get("access-control-allow-origin") == allowed
            async with session.get(f"{cascade.url}/v1/models", headers=headers) as reply:
                assert reply.headers.get("access-control-allow-origin") == allowed
                assert "access-control-allow-credentials" not in reply.headers
