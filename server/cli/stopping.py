"""The server that `smallfirst serve` runs: it says that it will stop before it does."""

import signal
import socket
import time
from types import FrameType

import uvicorn

from server.draining import Draining


class StoppingServer(uvicorn.Server):
    """After SIGTERM it goes on for a notice, in which it is not ready; then nothing more begins, and what is under way
    ends. A second signal, or SIGINT, cuts the notice short."""

    def __init__(self, config: uvicorn.Config, draining: Draining, *, notice_s: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._notice_s = notice_s
        self._stops_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        gives_notice = sig == signal.SIGTERM and not self._draining.is_on and self._notice_s > 0
        self._draining.begin()
        super().handle_exit(sig, frame)
        if gives_notice:
            self._stops_s = time.monotonic() + self._notice_s
            self.should_exit = False

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop now."""
        if self._stops_s is not None and time.monotonic() >= self._stops_s:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for what is under way."""
        self._draining.close()
        await super().shutdown(sockets)
