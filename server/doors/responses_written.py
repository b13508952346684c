"""The items of a response while they are written: each says what happens to it, as events, and what it is by now."""

from typing import Literal, NamedTuple

Status = Literal["in_progress", "completed", "incomplete"]
PartKind = Literal["output_text", "refusal", "reasoning_text"]


class Told(NamedTuple):
    """An event without its place in the stream."""

    type: str
    fields: dict[str, object]


class Part:
    """A text of one kind, inside an item."""

    def __init__(self, kind: PartKind, place: dict[str, object]) -> None:
        self.kind = kind
        self._place = place
        self._texts: list[str] = []
        self._logprobs: list[dict[str, object]] = []

    def opening(self) -> Told:
        """It begins, and is empty yet."""
        return Told("response.content_part.added", {**self._place, "part": self.shown()})

    def add(self, text: str, logprobs: list[dict[str, object]]) -> Told:
        """It goes on."""
        self._texts.append(text)
        self._logprobs += logprobs
        spoken = {"logprobs": logprobs} if self.kind == "output_text" else {}
        return Told(f"response.{self.kind}.delta", {**self._place, "delta": text, **spoken})

    def ending(self) -> list[Told]:
        """It is whole."""
        shown = self.shown()
        told = {name: value for name, value in shown.items() if name in ("text", "refusal", "logprobs")}
        return [
            Told(f"response.{self.kind}.done", {**self._place, **told}),
            Told("response.content_part.done", {**self._place, "part": shown}),
        ]

    def shown(self) -> dict[str, object]:
        """It as it is by now."""
        text = "".join(self._texts)
        match self.kind:
            case "output_text":
                return {"type": self.kind, "text": text, "annotations": [], "logprobs": list(self._logprobs)}
            case "refusal":
                return {"type": self.kind, "refusal": text}
            case "reasoning_text":
                return {"type": self.kind, "text": text}


class Spoken:
    """An item made of texts: a message, or reasoning."""

    def __init__(self, kind: Literal["message", "reasoning"], place: int, request_id: str) -> None:
        self.kind = kind
        self.place = place
        self._id = f"{'msg' if kind == 'message' else 'rs'}_{request_id}_{place}"
        self._parts: list[Part] = []

    def add(self, kind: PartKind, text: str, logprobs: list[dict[str, object]]) -> list[Told]:
        """Words of one kind; a part ends where one of another kind begins."""
        told: list[Told] = []
        if not self._parts or self._parts[-1].kind != kind:
            told += self._parts[-1].ending() if self._parts else []
            at = {"item_id": self._id, "output_index": self.place, "content_index": len(self._parts)}
            self._parts.append(Part(kind, at))
            told.append(self._parts[-1].opening())
        return [*told, self._parts[-1].add(text, logprobs)] if text or logprobs else told

    def ending(self) -> list[Told]:
        """Its last part is whole."""
        return self._parts[-1].ending() if self._parts else []

    def shown(self, status: Status) -> dict[str, object]:
        """It as it is by now."""
        content = [part.shown() for part in self._parts]
        if self.kind == "message":
            return {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": content}
        reasoning = {"summary": [], "content": content, "encrypted_content": None}
        return {"id": self._id, "type": "reasoning", "status": status, **reasoning}


class Call:
    """A function call."""

    def __init__(self, function: str, place: int, request_id: str, call_id: str) -> None:
        self.place = place
        self._at: dict[str, object] = {"item_id": f"fc_{request_id}_{place}", "output_index": place}
        self._call_id = call_id
        self.function = function
        self._arguments: list[str] = []

    def add(self, arguments: str) -> list[Told]:
        """More of its arguments."""
        if not arguments:
            return []
        self._arguments.append(arguments)
        return [Told("response.function_call_arguments.delta", {**self._at, "delta": arguments})]

    def ending(self) -> list[Told]:
        """Its arguments are whole."""
        whole = {"name": self.function, "arguments": "".join(self._arguments)}
        return [Told("response.function_call_arguments.done", {**self._at, **whole})]

    def shown(self, status: Status) -> dict[str, object]:
        """It as it is by now."""
        return {
            "id": self._at["item_id"],
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self.function,
            "arguments": "".join(self._arguments),
        }
