"""uvicorn's servers for a gateway that goes without losing a request: it says that it leaves before it closes its door,
and a worker that others have taken over from answers what it has to its end."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn

from server.readiness import Leaving

CLOSE = (b"connection", b"close")
NEVER = float("inf")


class RetiringServer(uvicorn.Server):
    """One that others take over from: they listen at the same sockets already."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._closes_s = NEVER
        self._is_retiring = False

    def retire(self, within_s: float) -> None:
        """Take no new connection, and end when those that there are have ended, at most after so long. Each is closed
        behind the answer under way; one that is idle, when it would be anyway: its next request may be on its way."""
        self._is_retiring = True
        self._closes_s = time.monotonic() + within_s
        self._part()
        for server in self.servers:
            server.close()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        is_done = self._is_retiring and not self.server_state.connections and not self.server_state.tasks
        if is_done or time.monotonic() >= self._closes_s:
            self.should_exit = True
        return await super().on_tick(counter)

    def _part(self) -> None:
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]


class LeavingServer(RetiringServer):
    """The gateway's own. When it leaves, `/ready` says no and every answer asks its client to come on another
    connection, for `drain_s` seconds in which all are still answered: as long as whoever picks gateways takes to pick
    others. Then the door is closed, and running requests may end."""

    def __init__(self, config: uvicorn.Config, *, leaving: Leaving, drain_s: float) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._drain_s = drain_s

    def leave(self) -> None:
        """The gateway is to end; to be told twice changes nothing."""
        if self._leaving.begun:
            return
        self._leaving.begun = True
        self._closes_s = min(self._closes_s, time.monotonic() + self._drain_s)
        self._part()

    def close(self) -> None:
        """Close the door now."""
        self._leaving.begun = True
        self.should_exit = True

    def force(self) -> None:
        """End now, whatever is under way."""
        self.close()
        self.force_exit = True

    def retire(self, within_s: float) -> None:
        """Others have taken over: the gateway is as ready as before, and who waits for a turn here will have it."""
        super().retire(within_s)
        self._leaving.retire(within_s)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as uvicorn has it
        """SIGTERM has come to this process; its parent starts another."""
        self.leave()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Of signals to the whole group of processes, the parent knows what is meant."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door; who waits for its turn is sent away, and what has begun may end."""
        self._leaving.close()
        await super().shutdown(sockets)
