"""Reading a server's reply: bytes to a delta, a finish or an error.

Whatever is read later is checked here, so a reply that is no completion is a BadReply and nothing worse. What the
server says of an error goes to the client where it is the client's; it never goes into a message that is logged.
"""

import contextlib
import json
import re
from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import orjson

from models.answer import Delta, Finish, Piece, Speculation, Usage
from models.errors import BadReply, CapabilityMiss, Misconfigured, ModelError, Overloaded, Unreachable
from models.forms import CHAT_PATH, FormName
from models.tokens import NO_TOKENS, Token, Tokens
from models.wire import (
    WireAlternative,
    WireChoice,
    WireLogprobs,
    WireMessage,
    WireReply,
    WireToken,
    WireToolCall,
    WireUsage,
)

NOT_A_REPLY = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
MAX_MESSAGE = 500
LOWEST_ERROR_STATUS = 400
MAX_RETRY_AFTER_DIGITS = 5
NOT_FOUND = (404, 405)
NO_SUCH_MODEL = re.compile(r"model\b.*\b(not exist|not found)", re.IGNORECASE)
NAMED_BY_ID = "token_id:"
TEXTS = ("content", "reasoning", "reasoning_content", "refusal")


def delta_of(received: bytes, received_s: float, form: FormName = "chat") -> Delta:
    """A whole reply to a request of that form, or one chunk of it.

    Raises BadReply, or what a server's own error in a stream means.
    """
    try:
        reply = loaded(received)
        error = reply.get("error")
        read = piece_of if form == "chat" else text_piece_of
        pieces = tuple(map(read, reply.get("choices") or ()))
        check_ids(reply.get("prompt_token_ids"))
    except NOT_A_REPLY as wrong:
        raise BadReply(f"the server's reply is no {form} ({type(wrong).__name__})") from wrong
    if error is not None:
        raise error_in_stream(error)
    return Delta(reply, pieces, received_s)


def loaded(received: bytes) -> WireReply:
    """The JSON; halves of surrogate pairs, which come where a chunk ends inside a character, become `?`."""
    try:
        reply: WireReply = orjson.loads(received)
    except orjson.JSONDecodeError:
        text = json.dumps(json.loads(received), ensure_ascii=False, allow_nan=False)
        reply = orjson.loads(text.encode(errors="replace"))
    return reply


def piece_of(choice: WireChoice) -> Piece:
    """What one choice of a reply or chunk adds. Raises one of NOT_A_REPLY."""
    message = choice.get("delta") or choice.get("message") or {}
    check_message(message)
    logprobs = choice.get("logprobs") or {}
    finish_reason = choice.get("finish_reason")
    return Piece(
        int(choice.get("index") or 0),
        message,
        tokens_of(logprobs.get("content") or ()),
        None if finish_reason is None else text_of(finish_reason),
        check_ids(choice.get("token_ids")),
    )


def tokens_of(entries: Sequence[WireToken]) -> Tokens:
    """The tokens of a conversation's answer. Raises one of NOT_A_REPLY.

    A column is checked as a whole: this is the one walk over all that a server says of each token.
    """
    if not entries:
        return NO_TOKENS
    texts = tuple([entry["token"] for entry in entries])
    "".join(texts)  # raises a TypeError where one is no text
    logprobs = logprobs_of([entry["logprob"] for entry in entries])
    beside = [entry.get("top_logprobs") or () for entry in entries]
    return Tokens(texts, logprobs, alternatives_of(beside) if any(beside) else ((),) * len(texts))


def alternatives_of(beside: Sequence[Sequence[WireAlternative]]) -> tuple[tuple[float, ...], ...]:
    """The log-probabilities of the likely tokens in each one's place, which are checked as one column too."""
    flat = logprobs_of([other["logprob"] for others in beside for other in others])
    ends = [*accumulate(map(len, beside))]
    return tuple([flat[start:end] for start, end in zip([0, *ends], ends, strict=False)])


def text_piece_of(choice: WireChoice) -> Piece:
    """As `piece_of`, of a text completion."""
    text = text_of(choice.get("text"))
    check_ids(choice.get("prompt_token_ids"))
    finish_reason = choice.get("finish_reason")
    return Piece(
        int(choice.get("index") or 0),
        {"content": text},
        text_tokens_of(choice.get("logprobs") or {}, text),
        None if finish_reason is None else text_of(finish_reason),
        check_ids(choice.get("token_ids")),
    )


def text_tokens_of(logprobs: WireLogprobs, text: str) -> Tokens:
    """The tokens of a piece of text, less those without a log-probability, which begin a prompt. Where they are named
    by their ids their texts are not known: the first one has all of the text, so that together they are it."""
    names, alternatives = logprobs.get("tokens") or [], logprobs.get("top_logprobs") or []
    sampled = list(zip(map(text_of, names), logprobs.get("token_logprobs") or (), strict=True))
    if names and all(name.startswith(NAMED_BY_ID) for name in names):
        sampled = [(text if place == 0 else "", logprob) for place, (_, logprob) in enumerate(sampled)]
    likeliest = [*alternatives, *[None] * (len(sampled) - len(alternatives))]
    beside = [logprobs_of([*(others or {}).values()]) for others in likeliest]
    rows = [
        Token(token, logprob, others)
        for (token, logprob), others in zip(sampled, beside, strict=True)
        if logprob is not None
    ]
    return replace(Tokens.of(rows), logprobs=logprobs_of([row.logprob for row in rows]))


def check_ids(ids: list[int] | None) -> tuple[int, ...]:
    """Token ids. Raises a TypeError or OverflowError where they are none."""
    return tuple(array("q", ids)) if ids else ()


def check_message(message: WireMessage) -> None:
    """Raise a TypeError or AttributeError where a field that is read later is of another type."""
    for name, value in message.items():
        if name in TEXTS and value is not None:
            text_of(value)
    for call in message.get("tool_calls") or ():
        check_tool_call(call)


def check_tool_call(call: WireToolCall) -> None:
    """As `check_message`."""
    function = call.get("function") or {}
    for text in (function.get("name"), function.get("arguments")):
        if text is not None:
            text_of(text)
    if not isinstance(call.get("index"), int | None):
        raise TypeError("no index")


def text_of(value: object) -> str:
    """The value, if it is a text."""
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def logprobs_of(values: Sequence[float]) -> tuple[float, ...]:
    """Log-probabilities; rounding may have put them above 0. Raises a TypeError or OverflowError where one is none."""
    checked = array("d", values)
    return tuple(checked) if max(checked, default=0.0) <= 0.0 else tuple([min(value, 0.0) for value in checked])


def finish_of(reporting: WireReply, *, streamed: bool) -> Finish:
    """The end of an answer, from the reply or chunk with the server's report; without what makes no sense in it."""
    reported = reporting.get("usage")
    usage = usage_of(reported)
    return Finish(
        usage,
        reported if usage else None,
        reporting if streamed else None,
        speculation_of(reporting),
    )


def usage_of(reported: WireUsage | None) -> Usage | None:
    """The tokens that a server counted."""
    try:
        usage = Usage(int((reported or {})["prompt_tokens"]), int((reported or {}).get("completion_tokens") or 0))
    except NOT_A_REPLY:
        return None
    return usage if min(usage.prompt_tokens, usage.completion_tokens) >= 0 else None


def usage_in_all(reported: WireUsage) -> Usage | None:
    """The same of a reply that is no answer: some servers count its tokens only in all."""
    return usage_of({"prompt_tokens": reported.get("total_tokens", 0), **reported} if reported else None)


def speculation_of(reply: WireReply) -> Speculation | None:
    """What a server says of the draft that it verified; None where it verified none."""
    try:
        told = (reply.get("metrics") or {}).get("speculative_decoding") or {}
        speculation = Speculation(
            proposed=int(told["num_draft_tokens"]),
            accepted=int(told["num_accepted_draft_tokens"]),
            steps=int(told["num_spec_steps"]),
            at_once=int(told["num_spec_tokens"]),
        )
    except NOT_A_REPLY:
        return None
    return speculation if 0 <= speculation.accepted <= speculation.proposed and speculation.proposed else None


def error_of(status: int, received: bytes, retry_after: str | None, path: str = CHAT_PATH) -> ModelError:
    """What an answer other than 200 means."""
    if lacks(path, status, received):
        return CapabilityMiss(f"model: its server has no {path}: name another one", param="model")
    message = f"the server answered {status}"
    match status:
        case 400 | 413 | 422 | 501:
            param, code = blamed(received)
            return CapabilityMiss(message_of(received), param=param, code=code)
        case 401 | 403 | 404:
            return Misconfigured(message)
        case _ if 300 <= status < 400:
            return Misconfigured(f"{message}: its address leads elsewhere")
        case 429 | 503:
            return Overloaded(message, retry_after_s=seconds_of(retry_after or ""))
        case _:
            return Unreachable(message)


def lacks(path: str, status: int, received: bytes) -> bool:
    """Whether an answer means that a server has no such path, or not for its model, rather than no such model."""
    if path == CHAT_PATH or status not in NOT_FOUND:
        return False
    _, code = blamed(received)
    return code != "model_not_found" and NO_SUCH_MODEL.search(message_of(received)) is None


def error_in_stream(error: object) -> ModelError:
    """What an error in place of a chunk means: vLLM's has the status that it came too late to answer with."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and code >= LOWEST_ERROR_STATUS:
        with contextlib.suppress(orjson.JSONEncodeError):  # nested deeper than can be written again
            return error_of(code, orjson.dumps({"error": error}), None)
    return Unreachable("the server failed in the middle of an answer")


def seconds_of(retry_after: str) -> int | None:
    """A Retry-After in seconds; a date is not read."""
    return int(retry_after) if retry_after.isdecimal() and len(retry_after) <= MAX_RETRY_AFTER_DIGITS else None


def message_of(received: bytes) -> str:
    """The message in an error body of OpenAI's, vLLM's or FastAPI's shape; else the body's beginning."""
    try:
        body = orjson.loads(received)
        error = body.get("error", body)
        text = error if isinstance(error, str) else error.get("message") or error["detail"]
        return str(text)[:MAX_MESSAGE]
    except NOT_A_REPLY:
        return received[:MAX_MESSAGE].decode(errors="replace")


def blamed(received: bytes) -> tuple[str | None, str | None]:
    """The parameter and the code that an error body names; vLLM's codes are numbers and not taken over."""
    try:
        error = orjson.loads(received)["error"]
        param, code = error.get("param"), error.get("code")
    except NOT_A_REPLY:
        return None, None
    return (param if isinstance(param, str) else None, code if isinstance(code, str) else None)
