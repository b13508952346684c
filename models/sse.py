"""Server-sent events from bytes: the `data` of each event, as soon as it is whole."""

from models.errors import BadReply

MAX_EVENT_BYTES = 16 * 2**20
DONE = b"[DONE]"  # the data of the last event, in OpenAI's streams


class EventReader:
    """Takes bytes in pieces of any size, in time linear in them; comments and fields other than `data` are dropped.

    The format: WHATWG HTML, "Server-sent events", https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, received: bytes) -> list[bytes]:
        """The events that these bytes complete. Raises BadReply where one event outgrows every sane size."""
        events: list[bytes] = []
        *lines, rest = received.split(b"\n")
        if lines and self._rest:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest, self._rest_bytes = [], 0
        for line in lines:
            self._take(line, events)
        if rest:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
        if self._rest_bytes + self._data_bytes > MAX_EVENT_BYTES:
            raise BadReply("the server sent an event without an end")
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if line.startswith(b"data:"):
            data = line[6:] if line.startswith(b"data: ") else line[5:]
            self._data.append(data)
            self._data_bytes += len(data)
        elif not line and self._data:
            events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            self._data.clear()
            self._data_bytes = 0
