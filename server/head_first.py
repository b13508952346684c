"""A connection's writing end that sends an answer's head together with what follows it at once: one call of the system,
and one awakening of the client, in place of two. Knows nothing of HTTP but how a head begins."""

import asyncio
from collections.abc import Iterable

HEAD = b"HTTP/1."


class HeadFirst(asyncio.Transport):
    """Another transport, but for that. A head that nothing follows at once goes out in the loop's next turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it, behind the head that waits; or let it wait, where it is one."""
        if self._head:
            self.writelines((data,))
        elif isinstance(data, bytes) and data.startswith(HEAD):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """The same of several."""
        head, self._head = self._head, b""
        # Of an empty part the interpreter's own loop would not get rid (CPython 3.12 and 3.13), turn for turn.
        self._transport.writelines([part for part in (head, *list_of_data) if part])

    def _flush(self) -> None:
        if self._head and not self._transport.is_closing():  # the client may have left since
            self.writelines(())

    def close(self) -> None:
        """Send what waits, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._head = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """As it is."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """As it does."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As it does."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """With the head that waits."""
        return self._transport.get_write_buffer_size() + len(self._head)

    def get_extra_info(self, name: str, default: object = None) -> object:
        """As it has."""
        return self._transport.get_extra_info(name, default)
