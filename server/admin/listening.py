"""The listener for operators, beside the gateway's own, for as long as the gateway runs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from server.admin.app import create_admin_app
from server.listener import listener_of
from server.readiness import Leaving
from server.settings.schema import Settings
from server.workers.leaving_server import RetiringServer
from server.workers.listening import listener_at

START_S = 10.0
END_S = 1

log = structlog.get_logger()


class SideServer(RetiringServer):
    """Leaves signals to the gateway's own server."""

    def __init__(self, wanted: uvicorn.Config) -> None:
        super().__init__(wanted)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing."""
        yield


@asynccontextmanager
async def operators_served(app: FastAPI) -> AsyncIterator[None]:
    """Operators are answered for as long as the block, where the settings want it. Raises OSError where the port cannot
    be had."""
    settings: Settings = app.state.settings
    if settings.server.admin_port is None:
        yield
        return
    with listener_for(app, settings.server.admin.host, settings.server.admin_port) as listener:
        app.state.admin_address = listener.getsockname()[:2]
        admin = settings.server.admin
        wanted = listener_of(create_admin_app(app.state), settings.server, host=admin.host, port=0, grace_s=END_S)
        server = SideServer(wanted)
        leaving: Leaving = app.state.leaving
        leaving.on_retire(server.retire)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(START_S):
                await server.listening.wait()
            host, port = app.state.admin_address
            log.info("operators are answered", host=host, port=port)
            yield
        finally:
            server.should_exit = True
            await serving


def listener_for(app: FastAPI, host: str, port: int) -> socket.socket:
    """The socket that the process was given for it, or else one of its own. Raises OSError."""
    given: socket.socket | None = app.state.admin_listener
    return listener_at(host, port) if given is None else given
