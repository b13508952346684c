"""The output of one response while it is written: what each piece of the answer adds, as events, and what all of them
add up to.

An item ends where the next one of another kind begins; function calls may be written side by side, and end together.
"""

from collections.abc import Sequence
from typing import Literal

from models.answer import Piece, reasoning_of
from models.calls import Numbering
from models.wire import WireToken, WireToolCall
from server.doors.responses_logprobs import shown_token, tokens_within
from server.doors.responses_written import Call, PartKind, Spoken, Status, Told


class Output:
    """All items of a response, in the order in which they began. `alternatives` is how many likely tokens the client
    wants beside each one of the text; None where it wants no log-probabilities."""

    def __init__(self, request_id: str, alternatives: int | None) -> None:
        self._request_id = request_id
        self._alternatives = alternatives
        self._items: list[Spoken | Call] = []
        self._statuses: list[Status] = []
        self._spoken: Spoken | None = None
        self._calls: dict[int, Call] = {}
        self._numbering = Numbering()
        self._tokens: list[WireToken] = []

    def add(self, piece: Piece, tokens: Sequence[WireToken]) -> list[Told]:
        """A piece of the answer, and its tokens."""
        message = piece.message
        reasoning, text, refusal = reasoning_of(message), message.get("content") or "", message.get("refusal") or ""
        calls = message.get("tool_calls") or ()
        told: list[Told] = []
        if reasoning:
            told += self._say("reasoning", "reasoning_text", reasoning, [])
        if text:
            told += self._say("message", "output_text", text, self._logprobs(tokens, text, reasoning))
        elif not (reasoning or refusal or calls):
            self._tokens += tokens
        else:
            self._tokens.clear()
        if refusal:
            told += self._say("message", "refusal", refusal, [])
        for place, call in enumerate(calls):
            told += self._call(place, call)
        return told

    def close(self, status: Status) -> list[Told]:
        """The answer is over; what is open ends, the last item with this status. An answer is never without items."""
        told = [] if self._items else self._say("message", "output_text", "", [])
        last = len(self._items) - 1
        for item in [*([self._spoken] if self._spoken else ()), *self._calls.values()]:
            told += self._end(item, status if item.place == last else "completed")
        self._spoken = None
        self._calls.clear()
        return told

    def items(self) -> list[dict[str, object]]:
        """The items as they are by now; what is open counts as incomplete."""
        return [item.shown(status) for item, status in zip(self._items, self._statuses, strict=True)]

    def _say(
        self, kind: Literal["message", "reasoning"], part: PartKind, text: str, logprobs: list[dict[str, object]]
    ) -> list[Told]:
        told: list[Told] = []
        if self._spoken is None or self._spoken.kind != kind:
            told += self._end_spoken()
            self._spoken = Spoken(kind, len(self._items), self._request_id)
            told.append(self._begin(self._spoken))
        return told + self._spoken.add(part, text, logprobs)

    def _call(self, place: int, piece: WireToolCall) -> list[Told]:
        index = self._numbering.of(piece, place)
        function = piece.get("function") or {}
        call = self._calls.get(index)
        told: list[Told] = []
        if call is None:
            told += self._end_spoken()
            call_id = self._call_id({**piece})
            call = self._calls[index] = Call(function.get("name") or "", len(self._items), self._request_id, call_id)
            told.append(self._begin(call))
        call.function = call.function or function.get("name") or ""
        return told + call.add(function.get("arguments") or "")

    def _call_id(self, piece: dict[str, object]) -> str:
        given = piece.get("id")
        return given if isinstance(given, str) and given else f"call_{self._request_id}_{len(self._items)}"

    def _begin(self, item: Spoken | Call) -> Told:
        self._items.append(item)
        self._statuses.append("incomplete")
        shown = item.shown("in_progress")
        return Told("response.output_item.added", {"output_index": item.place, "item": shown})

    def _end_spoken(self) -> list[Told]:
        spoken, self._spoken = self._spoken, None
        return [] if spoken is None else self._end(spoken, "completed")

    def _end(self, item: Spoken | Call, status: Status) -> list[Told]:
        self._statuses[item.place] = status
        done = Told("response.output_item.done", {"output_index": item.place, "item": item.shown(status)})
        return [*item.ending(), done]

    def _logprobs(self, tokens: Sequence[WireToken], text: str, reasoning: str) -> list[dict[str, object]]:
        held, self._tokens = self._tokens, []
        if self._alternatives is None:
            return []
        within = tokens_within([*held, *tokens], text, after=reasoning)
        return [shown_token(token, self._alternatives) for token in within]
