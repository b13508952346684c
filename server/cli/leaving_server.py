"""uvicorn's server for a gateway that others send requests to: it says that it is leaving before it closes its door."""

import signal
import socket
import time
from types import FrameType

import uvicorn

from server.garbage import look_seldom
from server.readiness import Leaving

CLOSE = (b"connection", b"close")


class LeavingServer(uvicorn.Server):
    """From SIGTERM on, `/ready` says no and every answer asks its client to come on another connection, for `drain_s`
    seconds in which all are still answered: as long as whoever picks gateways takes to pick others. Then the door is
    closed, and running requests may end. A second signal, or SIGINT, closes it at once."""

    def __init__(self, config: uvicorn.Config, *, leaving: Leaving, drain_s: float) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._drain_s = drain_s
        self._closes_s = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door."""
        await super().startup(sockets)
        look_seldom()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        waits = sig == signal.SIGTERM and not self._leaving.begun and self._drain_s > 0
        self._leaving.begun = True
        if waits:
            self._closes_s = time.monotonic() + self._drain_s
            self.config.encoded_headers.append(CLOSE)
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        if time.monotonic() >= self._closes_s:
            self._closes_s = float("inf")
            super().handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door; who waits for its turn is sent away, and what has begun may end."""
        self._leaving.close()
        await super().shutdown(sockets)
