"""One client's connection, within bounds that uvicorn does not have: how large and how late a request's headers may be,
what comes behind its body too, and how slowly an answer may be read. Knows nothing of what is asked."""

import asyncio
from dataclasses import dataclass

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from server.head_first import HeadFirst
from server.stopping import LEFT

MOST_HEADERS = 256
LEAST_READ_BYTES = 16 * 1024  # within the time for it
LATE = b"408 Request Timeout", b"the request's headers did not come in time"
LARGE = b"431 Request Header Fields Too Large", b"the request's headers are too large"
SPACE = 4  # of each header: colon, blank, line's end


@dataclass(frozen=True, slots=True)
class Bounds:
    """`header_bytes` and `headers_s` are for a request's first line and headers, `header_bytes` for what comes behind a
    body too; `send_s` is how long a client may read next to nothing of what was sent to it."""

    header_bytes: int = 64 * 1024
    headers_s: float = 10.0
    send_s: float = 30.0


def protocol_of(bounds: Bounds) -> type[HttpToolsProtocol]:
    """What uvicorn makes one of for each connection."""

    class Within(BoundedProtocol):
        """Within these bounds."""

    Within.bounds = bounds
    return Within


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, within bounds."""

    bounds = Bounds()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._left: asyncio.Future[None] = self.loop.create_future()
        self._is_refused = False
        self._in_headers = False
        self._bare_bytes = 0  # since anything of a body came: the parser keeps them
        self._late: asyncio.TimerHandle | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._overtaken: list[RequestResponseCycle] = []  # by requests that came before their answers were whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: its first request is due."""
        super().connection_made(HeadFirst(transport, self.loop))
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self._forget_late()
        self._forget_slow()
        self._left.set_result(None)
        super().connection_lost(exc)  # which tells the last request alone
        for cycle in self._overtaken:
            cycle.disconnected = True
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, of its headers or what follows them."""
        if self._is_refused or self.transport.is_closing():
            return
        self._bare_bytes += len(data)
        super().data_received(data)
        if self._bare_bytes > self.bounds.header_bytes and not self._is_refused:
            self._refuse_bare()
        elif self._is_idle and not self.transport.is_closing():
            self._expect_headers()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._in_headers, self._bare_bytes = True, 0
        super().on_message_begin()
        self.scope[LEFT] = self._left  # type: ignore[literal-required]

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those beyond the most are not kept."""
        if len(self.headers) <= MOST_HEADERS:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request can be answered, if its headers are not too large or too many."""
        self._in_headers, self._bare_bytes = False, 0
        self._forget_late()
        size = len(self.url) + sum(len(name) + len(value) + SPACE for name, value in self.headers)
        if size > self.bounds.header_bytes or len(self.headers) > MOST_HEADERS:
            self._refuse(LARGE)
        if self._is_refused:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._overtaken = [one for one in (*self._overtaken, self.cycle) if not one.response_complete]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a request's body."""
        self._bare_bytes = 0
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's end."""
        self._bare_bytes = 0
        if not self._is_refused:
            super().on_message_complete()
            self._listen_for_its_end()

    def on_response_complete(self) -> None:
        """An answer is written, though maybe not read; and maybe its request has not ended."""
        super().on_response_complete()
        if self._is_idle and self.cycle.more_body:
            self._expect_headers()
        self._expect_reading()

    def pause_writing(self) -> None:
        """More is written than the client has read."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """It has read it."""
        super().resume_writing()
        self._forget_slow()

    def _listen_for_its_end(self) -> None:
        """The body is whole: reading, which its size may have stopped, goes on to see the client leave."""
        if not self.pipeline:
            self.flow.resume_reading()

    @property
    def _is_idle(self) -> bool:
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _expect_headers(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.bounds.headers_s, self._is_late)

    def _forget_late(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _forget_slow(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _is_late(self) -> None:
        self._late = None
        if self._in_headers and not self.transport.is_closing():
            self._refuse(LATE)
        else:
            self.transport.close()
        self._expect_reading()

    def _refuse_bare(self) -> None:
        """Behind a body's last part an answer may be under way: nothing can be said there."""
        if self._in_headers:
            self._refuse(LARGE)
        else:
            self._is_refused = True
            self.transport.abort()

    def _refuse(self, answer: tuple[bytes, bytes]) -> None:
        status, words = answer
        self._is_refused = True
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, len(words), words)
        )
        self.transport.close()
        self._expect_reading()

    def _expect_reading(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        if self._slow is None and self._unread_bytes:
            self._slow = self.loop.call_later(self.bounds.send_s, self._is_slow)

    def _is_slow(self) -> None:
        self._slow = None
        unread = self.transport.get_write_buffer_size()
        if unread and self._unread_bytes - unread < LEAST_READ_BYTES:
            self.transport.abort()
        else:
            self._expect_reading()
