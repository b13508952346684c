"""Makes connections: to the first of a name's addresses that answers, over TLS where that is wanted."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import cached_property

from aiohappyeyeballs import start_connection

from models.connection import Connection
from models.route import Place

NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305, "connection attempt delay"


class Connecting:
    """Makes connections, which tell `done` whenever they are done with."""

    def __init__(self, done: Callable[[Connection], None]) -> None:
        self._done = done

    async def to(self, place: Place) -> Connection:
        """A new one. Raises OSError, or UnicodeError for what cannot be a name."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        connected = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S)
        # In the loop's next turn the socket is the transport's; until then it is nobody's who could close it.
        wrapping = loop.create_task(loop.create_connection(lambda: Connection(loop, self._done), sock=connected))
        try:
            transport, connection = await asyncio.shield(wrapping)
        except asyncio.CancelledError:
            wrapping.add_done_callback(abort_made)
            raise
        if place.tls_name is not None:
            connection.connection_made(await self._secured(transport, connection, place.tls_name))
        return connection

    async def _secured(self, transport: asyncio.Transport, connection: Connection, name: str) -> asyncio.Transport:
        if transport.is_closing():
            raise ConnectionResetError
        loop = asyncio.get_running_loop()  # it closes what could not be secured
        secured = await loop.start_tls(transport, connection, self._context, server_hostname=name)
        if secured is None:
            raise ConnectionResetError
        return secured

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


def abort_made(wrapping: asyncio.Task[tuple[asyncio.Transport, Connection]]) -> None:
    """Nobody waits for the connection any more."""
    if not wrapping.cancelled() and wrapping.exception() is None:
        wrapping.result()[0].abort()
