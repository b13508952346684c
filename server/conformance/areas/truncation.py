"""Truncated answers: where the model's answer breaks its client gets an error, never what looks like a whole answer."""

from functools import partial

from server.conformance.case import Case, case
from server.conformance.gateway import FIRST_ERROR, Answer
from server.conformance.json_values import at, short
from server.conformance.plays import Reply, Trouble, words
from server.conformance.stage import Stage
from server.conformance.streams import DONE, folded
from server.conformance.upstream import RETRY_AFTER_S
from server.conformance.wrong import Wrong, expect

AREA = "truncation"
TEXT = words(" ".join(f"w{place}" for place in range(20)))
STREAMED: dict[str, tuple[Trouble, str]] = {
    "stream-cut": ("reset-amid", "The model's connection breaks in the middle of a stream"),
    "stream-ends-early": ("end-amid", "A stream ends in the middle without a finish reason and `[DONE]`"),
    "stream-error": ("error-amid", "The model tells an error in the middle of a stream"),
    "stream-500": ("500", "The model answers a streamed request with a 500"),
    "stream-html": ("html", "The model answers a streamed request with 200 and a page of HTML"),
    "stream-empty": ("empty", "The model answers a streamed request with 200 and nothing"),
}
WHOLE: dict[str, tuple[Trouble, str]] = {
    "body-cut": ("reset-amid", "The model's connection breaks in the middle of a body"),
    "body-ends-early": ("end-amid", "A body is half of a reply"),
    "not-json": ("not-json", "A body is the beginning of a JSON object"),
    "html": ("html", "The model answers with 200 and a page of HTML"),
    "empty": ("empty", "The model answers with 200 and nothing"),
    "500": ("500", "The model answers with a 500"),
    "500-html": ("500-html", "The model answers with a 500 and a page of HTML"),
    "503": ("503", "The model answers with a 503"),
}


async def stream_is_an_error(trouble: Trouble, stage: Stage) -> str:
    """The client gets an error: a status, an error event, or a connection that breaks."""
    with stage.plays(TEXT.with_trouble(trouble)) as play:
        return told_of_stream(await stage.ask(play, stream=True), TEXT)


def told_of_stream(answer: Answer, reply: Reply) -> str:
    """How a stream's client learns that it is broken. Raises Wrong where it does not, or where it is told it is whole
    before or after it."""
    if answer.status >= FIRST_ERROR:
        return f"{answer.status}"
    if answer.broke is not None:
        return f"the connection broke: {answer.broke}"
    error = answer.error_event()
    if error is not None:
        return f"an error event: {short(at(error, 'message'), 60)}"
    text = folded(answer.chunks).get(0)
    reasons = text.finish_reasons if text else []
    ending = " with [DONE]" if any(event.data == DONE for event in answer.events) else ""
    raise Wrong(
        f"the stream ended cleanly{ending}, finish reason {short([*reasons])}, after "
        f"{len(text.content) if text else 0} of {len(reply.text)} characters"
    )


async def body_is_an_error(trouble: Trouble, stage: Stage) -> str:
    """The client gets an error: a status, or a connection that breaks."""
    with stage.plays(TEXT.with_trouble(trouble)) as play:
        answer = await stage.ask(play)
    if answer.broke is not None:
        return f"the connection broke: {answer.broke}"
    expect(answer.status >= FIRST_ERROR, f"{answer.status}: {answer.start}")
    return f"{answer.status}"


async def too_many_requests_is_told(stage: Stage) -> str:
    """The model answers 429 with `retry-after`: the client gets a 429 or 503 with `retry-after`, so that it waits."""
    with stage.plays(TEXT.with_trouble("429")) as play:
        answer = await stage.ask(play)
    expect(answer.status in (429, 503), f"{answer.status}: {answer.start}")
    waits = answer.headers.get("retry-after")
    expect(waits is not None, f"{answer.status} without retry-after")
    return f"{answer.status}, retry-after {waits} (the model's: {RETRY_AFTER_S})"


CASES = (
    *(Case(AREA, name, f"{what}: an error, not an end", partial(stream_is_an_error, trouble))
      for name, (trouble, what) in STREAMED.items()),
    *(Case(AREA, name, f"{what}: an error", partial(body_is_an_error, trouble))
      for name, (trouble, what) in WHOLE.items()),
    case(AREA, "429", too_many_requests_is_told),
)  # fmt: skip
