"""Whether the gateway can answer: asked of the servers themselves, at most once a second."""

import asyncio
import time
from collections.abc import Callable

from server.building import Served

FRESH_S = 1.0


class Leaving:
    """Whether the gateway is about to stop: nobody should send it anything new."""

    def __init__(self) -> None:
        self.begun = False
        self._closing: list[Callable[[], None]] = []
        self._retiring: list[Callable[[float], None]] = []

    def on_close(self, close: Callable[[], None]) -> None:
        """Have this done when nothing more is to begin."""
        self._closing.append(close)

    def on_retire(self, retire: Callable[[float], None]) -> None:
        """Have this done when another process has taken over, with the seconds that what is under way may take."""
        self._retiring.append(retire)

    def retire(self, within_s: float) -> None:
        """Another process has taken over: the gateway goes on."""
        for retire in self._retiring:
            retire(within_s)

    def close(self) -> None:
        """Nothing more is to begin."""
        self.begun = True
        for close in self._closing:
            close()


class Readiness:
    """Which tiers answer, as of a moment ago."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._asked_s = float("-inf")
        self._up: dict[str, bool] = {}
        self._asking = asyncio.Lock()

    async def tiers(self) -> dict[str, bool]:
        """Whether any replica of each tier answers."""
        async with self._asking:
            if time.monotonic() - self._asked_s > FRESH_S:
                names = list(self._served.pools)
                up = await asyncio.gather(*(self._served.pools[name].is_up() for name in names))
                self._up = dict(zip(names, up, strict=True))
                self._asked_s = time.monotonic()
        return self._up

    def can_answer(self, up: dict[str, bool]) -> bool:
        """Whether every cascade's final tier is up, or may be without servers until it is asked; without cascades,
        every tier."""
        finals = [cascade.final.name for cascade in self._served.cascades.values()]
        return all(up[name] or name in self._served.waiting for name in finals or up)
