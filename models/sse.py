"""Server-sent events from bytes: the `data` of each event, as soon as it is whole."""

from models.errors import BadReply

MAX_EVENT_BYTES = 16 * 2**20
DONE = b"[DONE]"  # the data of the last event, in OpenAI's streams


class EventReader:
    """Takes bytes in pieces of any size, in time linear in them; comments and fields other than `data` are dropped.

    The format: WHATWG HTML, "Server-sent events", https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._scanned = 0
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, received: bytes) -> list[bytes]:
        """The events that these bytes complete. Raises BadReply where one event outgrows every sane size."""
        rest = self._rest
        rest += received
        events: list[bytes] = []
        start = 0
        while (end := rest.find(b"\n", self._scanned)) >= 0:
            self._take(bytes(rest[start:end]).removesuffix(b"\r"), events)
            start = self._scanned = end + 1
        del rest[:start]
        self._scanned = len(rest)
        if len(rest) + self._data_bytes > MAX_EVENT_BYTES:
            raise BadReply("the server sent an event without an end")
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._data_bytes += len(data)
        elif not line and self._data:
            events.append(b"\n".join(self._data))
            self._data.clear()
            self._data_bytes = 0
