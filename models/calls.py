"""Which tool call a streamed piece belongs to, whatever the server makes of their numbers."""

from models.wire import WireToolCall


class Numbering:
    """Numbers calls from 0 in the order in which they begin. Some servers number all of theirs 0, or not at all: a
    piece with another id than its number's call begins a new one; one without a number is told apart by its place in
    the message."""

    def __init__(self) -> None:
        self._latest: dict[int, int] = {}
        self._ids: list[str] = []

    def of(self, call: WireToolCall, place: int) -> int:
        """The number of the call that this piece, at this place of its message, belongs to."""
        told, call_id = call.get("index"), call.get("id") or ""
        given = place if told is None else told
        number = self._latest.get(given)
        if number is None or (call_id and self._ids[number] not in ("", call_id)):
            number = self._latest[given] = len(self._ids)
            self._ids.append(call_id)
        self._ids[number] = self._ids[number] or call_id
        return number
