"""A gateway on a free port, in the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from server.app import create_app
from server.listener import listener_of
from server.settings.schema import Settings

GRACE_S = 30.0


class QuietServer(uvicorn.Server):
    """Leaves signals to the test runner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[str]:
    """Its address."""
    async with running_app(create_app(settings)) as url:
        yield url


@contextlib.asynccontextmanager
async def running_app(app: FastAPI) -> AsyncIterator[str]:
    """Serve on loopback until the block ends."""
    listening = listener_of(app, app.state.settings.server, host="127.0.0.1", port=0, grace_s=GRACE_S)
    server = QuietServer(listening)
    app.state.connections = server.server_state.connections
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            if serving.done():
                serving.result()
            await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
