"""A gateway that is about to stop: first it says so, then it begins nothing any more, and what is under way ends."""

from collections.abc import Callable


class Draining:
    """Of one gateway, from its start to its end."""

    def __init__(self) -> None:
        self._is_on = False
        self._closing: list[Callable[[], None]] = []

    @property
    def is_on(self) -> bool:
        """Whether the gateway is about to stop."""
        return self._is_on

    def on_close(self, close: Callable[[], None]) -> None:
        """Have this done when nothing more is to begin."""
        self._closing.append(close)

    def begin(self) -> None:
        """Say that the gateway is about to stop; it still does all that it did."""
        self._is_on = True

    def close(self) -> None:
        """Send away who waits."""
        self._is_on = True
        for close in self._closing:
            close()
