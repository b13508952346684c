"""A server's stream as it comes: bytes in, deltas out, and a finish when it has ended. Waits for nothing."""

from collections.abc import Iterator

from models.answer import Delta, Finish
from models.errors import BadReply
from models.forms import FormName
from models.parsing import delta_of, finish_of
from models.sse import DONE, EventReader
from models.wire import WireReply

MAX_REPLY_BYTES = 32 * 2**20


class Chunks:
    """The stream of the server of this name. `begun`: an event has come; `ended`: the last one has."""

    def __init__(self, server: str, form: FormName) -> None:
        self._server = server
        self._form = form
        self._events = EventReader()
        self._bytes = 0
        self._reporting: WireReply | None = None
        self._finished = False
        self.begun = False
        self.ended = False

    def fed(self, received: bytes, received_s: float) -> Iterator[Delta]:
        """What these bytes add to the answer. Raises a ModelError."""
        self._bytes += len(received)
        if self._bytes > MAX_REPLY_BYTES:
            raise BadReply(f"{self._server} sent more than {MAX_REPLY_BYTES} bytes")
        events = self._events.feed(received)
        for place, event in enumerate(events, 1):
            self.begun = True
            if event == DONE:
                self.ended = True
                return
            delta = delta_of(event, received_s, self._form)
            if delta.reply.get("usage"):
                self._reporting = delta.reply
            self._finished = self._finished or delta.ends
            if delta.pieces:
                yield delta if place == len(events) else delta._replace(more=True)

    def finish(self) -> Finish:
        """The answer's end. Raises BadReply where there is none."""
        if not self._finished:
            raise BadReply(f"{self._server} ended a stream in the middle of an answer")
        return finish_of(self._reporting, streamed=True) if self._reporting else Finish(None)
