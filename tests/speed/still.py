"""An event loop whose clock can be stopped: then no timer runs out, and only what is asked happens."""

import asyncio

TURNS = 50


class StillLoop(asyncio.SelectorEventLoop):
    """Its clock goes until `stop` is called."""

    _stopped_s: float | None = None

    def time(self) -> float:
        """Seconds."""
        return super().time() if self._stopped_s is None else self._stopped_s

    async def stop_clock(self) -> None:
        """From now on no timer runs out; what had begun by now has its turns."""
        self._stopped_s = super().time()
        await turns()

    def start_clock(self) -> None:
        """Time goes on."""
        self._stopped_s = None


async def turns() -> None:
    """Let everything that can go on go on for a while."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
