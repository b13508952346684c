"""Server-sent events from bytes: the `data` of each event, as soon as it is whole."""

from models.errors import BadReply

MAX_EVENT_BYTES = 16 * 2**20


class EventReader:
    """Takes bytes in pieces of any size; comments and fields other than `data` are dropped.

    The format: WHATWG HTML, "Server-sent events", https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """The events that these bytes complete. Raises BadReply where one event outgrows every sane size."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        if len(self._rest) > MAX_EVENT_BYTES:
            raise BadReply("the server sent an event without an end")
        return events
