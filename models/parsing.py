"""Reading a server's reply: bytes to a delta, usage or an error. A reply that is no chat completion is a BadReply."""

import orjson

from models.answer import Delta, Finish, Piece, Token, Usage
from models.errors import (
    BadReply,
    CapabilityMiss,
    Misconfigured,
    ModelError,
    Overloaded,
    Unreachable,
)
from models.wire import WireChoice, WireReply, WireUsage

NOT_A_REPLY = (AttributeError, KeyError, TypeError, ValueError)
MAX_MESSAGE = 500


def delta_of(received: bytes, received_s: float) -> Delta:
    """A whole reply, or one chunk of it.

    Raises BadReply, or what a server's own error in the middle of a stream stands for.
    """
    try:
        reply: WireReply = orjson.loads(received)
        error = reply.get("error")
        if error is None:
            return Delta(reply, tuple(piece_of(choice) for choice in reply["choices"]), received_s)
    except NOT_A_REPLY as wrong:
        raise BadReply(f"the server's reply is no chat completion: {wrong!r}") from wrong
    raise Unreachable(f"the server failed in mid-answer: {message_of(received)}")


def piece_of(choice: WireChoice) -> Piece:
    """What one choice of a reply or chunk adds."""
    message = choice.get("delta") or choice.get("message") or {}
    content = message.get("content")
    if not (content is None or isinstance(content, str)):
        raise TypeError("content is no string")
    logprobs = choice.get("logprobs") or {}
    tokens = tuple(
        Token(
            entry["token"],
            float(entry["logprob"]),
            tuple(float(other["logprob"]) for other in entry.get("top_logprobs") or ()),
        )
        for entry in logprobs.get("content") or ()
    )
    return Piece(int(choice.get("index", 0)), message, tokens, choice.get("finish_reason"))


def finish_of(reported: WireUsage | None) -> Finish:
    """The end of an answer, with what the server last said of its tokens."""
    if not reported:
        return Finish(None)
    try:
        usage = Usage(int(reported["prompt_tokens"]), int(reported.get("completion_tokens") or 0))
        return Finish(usage, reported)
    except NOT_A_REPLY as wrong:
        raise BadReply("the server's usage has no token counts") from wrong


def error_of(status: int, received: bytes, retry_after: str | None) -> ModelError:
    """What an answer other than 200 means."""
    message = f"the server answered {status}: {message_of(received)}"
    match status:
        case 400 | 413 | 422:
            param, code = blamed(received)
            return CapabilityMiss(message_of(received), param=param, code=code)
        case 401 | 403 | 404:
            return Misconfigured(message)
        case 429 | 503:
            seconds = int(retry_after) if retry_after and retry_after.isdecimal() else None
            return Overloaded(message, retry_after_s=seconds)
        case _:
            return Unreachable(message)


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
