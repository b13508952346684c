"""One HTTP/1.1 connection to a server: one request at a time, and its reply as it comes. httptools reads what comes;
knows nothing of other connections."""

import asyncio
import select
from collections.abc import Callable
from typing import Self

import httptools

from models.errors import BadReply, Disconnected, TimedOut, Unreachable
from models.route import Route

MAX_UNREAD_BYTES = 2**18  # of a body, before the server has to wait
MAX_HEAD_BYTES = 2**16  # and so of what comes between the parts of a body, or after it
MAX_HEADERS = 256
SENT_AT_ONCE_BYTES = 2**18  # of a body, before whatever else is ready goes on
FIRST_STATUS, FIRST_FINAL_STATUS = 100, 200
SWITCHING_PROTOCOLS = 101
WITHOUT_BODY = (204, 304)
NOTHING = memoryview(b"")


class NotHttp(Exception):
    """What came is no reply, or none that was asked for."""


class Connection(asyncio.Protocol):
    """Once a request is sent its reply is read: first its head, then its body, within a `with` block whose end says
    that it is `done` with. A reply that was not read to its end makes the connection one of no more use."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._arrivals = select.poll()
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._failed: BaseException | None = None
        self._unsent = NOTHING
        self._may_send = True
        self._headers: dict[bytes, bytes] = {}
        self._has_head = False
        self._parts: list[bytes] = []
        self._unread_bytes = 0
        self._bytes_without_body = 0
        self._reads = True
        self._ends_with_connection = False
        self._ended = True
        self._lasts = True
        self.route: Route
        self.status = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done(self)

    def send(self, route: Route, lines: bytes, body: bytes) -> None:
        """A request, whole, with these lines beside the route's; its reply is waited for. A large body goes in parts,
        between which other connections go on."""
        self.route = route
        self._has_head = self._ended = self._ends_with_connection = False
        self._bytes_without_body = 0
        self._headers = {}
        if self._transport.is_closing():  # before it was of any use
            self._break("closed the connection", None)
            return
        length = b"content-length: %d\r\n\r\n" % len(body) if route.method == "POST" else b"\r\n"
        head = b"".join((route.head, lines, length))
        if len(body) <= SENT_AT_ONCE_BYTES:
            # Of an empty part the interpreter's own loop would not get rid (CPython 3.12 and 3.13), turn for turn.
            self._transport.writelines((head, body) if body else (head,))
            return
        self._transport.write(head)
        self._unsent = memoryview(body)
        self._send_on()

    def limit(self, by_s: float | None) -> None:
        """Who reads waits until this time of the loop's at most, in place of what was set before."""
        if self._late is not None:
            self._late.cancel()
        self._late = None if by_s is None else self._loop.call_at(by_s, self._took_too_long)

    async def head(self) -> None:
        """Wait for the reply's status and headers. Raises Disconnected or TimedOut."""
        while not self._has_head:
            if self._failed is not None:
                raise self._failed
            await self._arrival()

    def header(self, name: str) -> str | None:
        """The reply's header of this name, which is in small letters; the last of several."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1").rstrip()

    async def readany(self) -> bytes:
        """What has come of the body and was not read, at least a byte; nothing at its end. Raises Unreachable,
        TimedOut, BadReply where the body is compressed, or what was set by `set_exception`."""
        while not self._parts:
            if self._failed is not None:
                raise self._failed
            if self._ended:
                return b""
            await self._arrival()
        read = b"".join(self._parts)
        self._parts, self._unread_bytes = [], 0
        if not self._reads and not self._transport.is_closing():
            self._reads = True
            self._transport.resume_reading()
        return read

    async def whole(self, most: int) -> bytes | None:
        """The body; None where it has more bytes. Raises as `readany`."""
        parts, size = list[bytes](), 0
        while part := await self.readany():
            parts.append(part)
            size += len(part)
            if size > most:
                return None
        return b"".join(parts)

    def set_exception(self, exc: BaseException) -> None:
        """Whoever reads, or waits to, gets this once all that came before it is read; the connection is closed."""
        if self._failed is None and not self._ended:
            self._failed = exc
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close it at once: the server may stop its work."""
        self._lasts = False
        self._unsent = NOTHING
        self._transport.abort()

    @property
    def is_spent(self) -> bool:
        """Whether no other request can be sent: the last one was not answered to its end, or a side has closed."""
        return not (self._lasts and self._ended and not self._parts) or self._transport.is_closing()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come that was not looked at yet, such as the news that the server closed it."""
        return not self._arrivals.poll(0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As asyncio.Protocol."""
        self._transport = transport
        self._arrivals.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """As asyncio.Protocol."""
        self._bytes_without_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as odd:
            self._break(f"no HTTP: {odd.__context__ or odd}", odd)
            return
        if self._bytes_without_body > MAX_HEAD_BYTES:
            self._break("no HTTP: the headers do not end", None)

    def eof_received(self) -> None:
        """As asyncio.Protocol; over TLS, with uvloop, only where the server itself says that this is the end."""
        if self._ends_with_connection:
            self._ended = True
        self._break("closed the connection", None)

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio.Protocol."""
        self._break("closed the connection" if exc is None else type(exc).__name__, exc)

    def pause_writing(self) -> None:
        """As asyncio.Protocol."""
        self._may_send = False

    def resume_writing(self) -> None:
        """As asyncio.Protocol."""
        self._may_send = True
        self._send_on()

    def on_message_begin(self) -> None:
        """As httptools has it: a status line."""
        if self._ended:
            raise NotHttp("a reply that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """As httptools has it; what comes after a body is not heard."""
        if self._has_head:
            return
        self._headers[name.lower()] = value
        if len(self._headers) > MAX_HEADERS:
            raise NotHttp("too many headers")

    def on_headers_complete(self) -> None:
        """As httptools has it; what a server says before its reply is not heard."""
        status, headers = self._parser.get_status_code(), self._headers
        if status == SWITCHING_PROTOCOLS:
            raise NotHttp("another protocol")
        if status < FIRST_STATUS:
            raise NotHttp("a status that is none")
        if status < FIRST_FINAL_STATUS:
            self._headers = {}
            return
        transfer = headers.get(b"transfer-encoding")
        if transfer is not None and transfer.rstrip().lower() != b"chunked":
            raise NotHttp("an unknown transfer-encoding")
        self.status, self._has_head = status, True
        is_measured = transfer is not None or b"content-length" in headers
        self._ends_with_connection = not is_measured and status not in WITHOUT_BODY
        coding = headers.get(b"content-encoding", b"").rstrip().lower()
        if coding not in (b"", b"identity"):
            self._failed = BadReply(
                f"{self.route.server} compressed its reply though it was asked not to: switch that off there, or in the"
                " proxy before it"
            )
        self._wake()

    def on_body(self, part: bytes) -> None:
        """As httptools has it."""
        if not self._has_head:
            raise NotHttp("a body before the reply")
        self._bytes_without_body = 0
        if self._failed is not None:
            return
        self._parts.append(part)
        self._unread_bytes += len(part)
        if self._unread_bytes > MAX_UNREAD_BYTES and self._reads:
            self._reads = False
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """As httptools has it. A server that answers before it has heard all does not want the rest."""
        if not self._has_head:
            return
        is_heard = not self._unsent and not self._transport.get_write_buffer_size()
        self._lasts = self._lasts and is_heard and self._failed is None and self._parser.should_keep_alive()
        self._bytes_without_body = 0
        self._ended = True
        self._wake()

    def _send_on(self) -> None:
        """Some more of the body, as far as the server takes it."""
        if not self._unsent or not self._may_send or self._transport.is_closing():
            return
        part, rest = self._unsent[:SENT_AT_ONCE_BYTES], self._unsent[SENT_AT_ONCE_BYTES:]
        self._unsent = rest or NOTHING  # an empty part of a body keeps the whole of it
        self._transport.write(part)
        self._loop.call_soon(self._send_on)

    def _break(self, why: str, cause: Exception | None) -> None:
        """It is of no more use; where a reply was awaited, that is a failure."""
        if not self._ended:
            kind = Unreachable if self._has_head else Disconnected
            failed = kind(f"{self.route.server}: {why}")
            failed.__cause__ = cause
            self.set_exception(failed)
            return
        self.abort()
        self._wake()

    def _took_too_long(self) -> None:
        self.set_exception(TimedOut(f"{self.route.server} took longer than its limits allow"))

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _arrival(self) -> asyncio.Future[None]:
        """Done when something has come."""
        self._waiter = self._loop.create_future()
        return self._waiter
