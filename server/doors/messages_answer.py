"""A whole answer in Anthropic's form, and what a stream says at its end: why it stopped, and what it took."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pydantic_core import from_json

from models.answer import Delta, Finish
from models.calls import Numbering
from models.errors import BadReply
from models.prompt import Prompt
from models.wire import JsonObject, WireReply
from router.outcome import Outcome
from server.bill import CACHE_WRITES, bill, counted_in, usage_of
from server.doors.events import written
from server.doors.messages_said import Said, said_in


@dataclass(frozen=True, slots=True)
class Named:
    """What every part of one answer says: whose it is, and which model was asked for."""

    request_id: str
    model: str
    prompt: Prompt

    @property
    def id(self) -> str:
        """The message's."""
        return f"msg_{self.request_id}"

    def message(self, content: Sequence[object], ending: "Ending", usage: JsonObject) -> dict[str, object]:
        """A message; at a stream's beginning an empty one."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": ending.reason,
            "stop_sequence": ending.sequence,
            "usage": usage,
        }

    def call_id(self, said: Said) -> str:
        """The model's own id of a call, or one of ours where it gave none."""
        return said.id or f"toolu_{self.request_id}_{said.call}"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an answer ended, in Anthropic's words; None where the server's word is none that they have one for."""

    reason: str | None = None
    sequence: str | None = None


STOPPED = ("stop", "tool_calls", "function_call")
OTHERWISE = {"length": "max_tokens", "content_filter": "refusal"}


def whole_message(named: Named, delta: Delta, finish: Finish, outcome: Outcome) -> bytes:
    """The body of an answer in one piece. Raises BadReply."""
    said = list(said_in(delta.pieces[0].message, Numbering())) if delta.pieces else []
    refused = bool(delta.pieces and delta.pieces[0].message.get("refusal"))
    ending = ending_of(delta.reply, arguments_of(said), refused=refused)
    usage = {**tokens_of(finish, outcome, named.prompt), "smallfirst": bill(outcome)}
    is_cut = ending.reason not in ("tool_use", "end_turn")
    blocks = [block_of(each, named, may_be_cut=is_cut and each is said[-1]) for each in said]
    return written(named.message(blocks, ending, usage))


def block_of(said: Said, named: Named, *, may_be_cut: bool) -> dict[str, object]:
    """A whole block. Raises BadReply."""
    match said.kind:
        case "thinking":
            return {"type": "thinking", "thinking": said.text, "signature": ""}
        case "text":
            return {"type": "text", "text": said.text}
        case "tool_use":
            made = cut_input(said.text) if may_be_cut else whole_input(said.text)
            return {"type": "tool_use", "id": named.call_id(said), "name": said.name, "input": made}


def whole_input(arguments: str) -> orjson.Fragment:
    """A call's arguments as the model wrote them, numbers of any size among them. Raises BadReply where they are no
    JSON object."""
    text = arguments or "{}"
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError as wrong:
        raise BadReply("the model called a tool with something that is no JSON") from wrong
    if not isinstance(read, dict):
        raise BadReply("the model called a tool with something that is no JSON object")
    return orjson.Fragment(text)


def cut_input(arguments: str) -> JsonObject:
    """The arguments of a call that was cut, as far as they were written. Raises BadReply as above."""
    try:
        written_so_far = from_json(arguments or "{}", allow_partial=True)
    except ValueError as wrong:
        raise BadReply("the model called a tool with something that is no JSON") from wrong
    if not isinstance(written_so_far, dict):
        raise BadReply("the model called a tool with something that is no JSON object")
    return written_so_far


def arguments_of(said: list[Said]) -> str | None:
    """What the last call was called with; None where no tool was called."""
    return next((each.text for each in reversed(said) if each.kind == "tool_use"), None)


def ending_of(reply: WireReply, last_arguments: str | None, *, refused: bool) -> Ending:
    """Why it stopped. A call that a stop sequence cut short must not be made, one that is whole may. Raises BadReply
    where one broke off without a reason."""
    choice = (reply.get("choices") or [{}])[0]
    reason, stop = choice.get("finish_reason"), choice.get("stop_reason")
    if refused:
        return Ending("refusal")
    if reason not in STOPPED:
        return Ending(OTHERWISE.get(reason or ""))
    is_whole = last_arguments is not None and is_json(last_arguments)
    if isinstance(stop, str) and not is_whole:
        return Ending("stop_sequence", stop)
    if last_arguments is not None and not is_whole:
        raise BadReply("the model broke off in the middle of a call")
    return Ending("end_turn" if last_arguments is None else "tool_use")


def is_json(text: str) -> bool:
    """Whether arguments are whole; a call without any is."""
    try:
        from_json(text or "{}")
    except ValueError:
        return False
    return True


def tokens_of(finish: Finish, outcome: Outcome, prompt: Prompt) -> JsonObject:
    """The answer's tokens: Anthropic counts those of the prompt that were cached apart."""
    usage = usage_of(finish, outcome, prompt)
    read = counted_in(usage, "prompt_tokens_details", "cached_tokens")
    made = counted_in(usage, "prompt_tokens_details", *CACHE_WRITES)
    thinking = counted_in(usage, "completion_tokens_details", "reasoning_tokens")
    tokens: JsonObject = {
        "input_tokens": max(0, whole_number(usage.get("prompt_tokens")) - read - made),
        "output_tokens": whole_number(usage.get("completion_tokens")),
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": made,
    }
    return {**tokens, "output_tokens_details": {"thinking_tokens": thinking}} if thinking else tokens


def whole_number(count: object) -> int:
    """The count, if it is one."""
    return max(0, count) if isinstance(count, int) else 0
