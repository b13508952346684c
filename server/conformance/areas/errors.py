"""Error shapes: a client's mistake is a 4xx with OpenAI's error object, whether it wanted a stream or not; a model's
failure a 5xx."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from server.conformance.case import Case, case
from server.conformance.gateway import CHAT, FIRST_ERROR, Answer
from server.conformance.json_values import Json, at
from server.conformance.plays import words
from server.conformance.stage import Stage
from server.conformance.wrong import expect

AREA = "errors"
FIRST_SERVER_ERROR = 500
NOWHERE = "/v1/no-such-path"
TURN: Json = [{"role": "user", "content": "Say hello."}]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong request; `statuses` are those that say so."""

    what: str
    body: Callable[[str], bytes | None]
    statuses: tuple[int, ...] = (400, 422)
    method: str = "POST"
    path: str = CHAT


def fields(**given: Json) -> Callable[[str], bytes]:
    """A body of these fields, and of the model."""
    return lambda model: json.dumps({"model": model, **given}).encode()


MISTAKES: dict[str, Mistake] = {
    "bad-json": Mistake("A body that is no JSON", lambda _: b'{"model": "x", "messages": ['),
    "no-object": Mistake("A body that is a JSON list", lambda _: b"[1, 2]"),
    "empty-body": Mistake("An empty body", lambda _: b""),
    "unknown-model": Mistake(
        "A model that does not exist",
        lambda _: json.dumps({"model": "no-such-model", "messages": TURN}).encode(),
        (404,),
    ),
    "no-messages": Mistake("A body without messages", fields()),
    "empty-messages": Mistake("An empty list of messages", fields(messages=[])),
    "messages-of-wrong-type": Mistake("Messages that are a text", fields(messages="Say hello.")),
    "temperature-of-wrong-type": Mistake(
        "A temperature that is a text", fields(messages=TURN, temperature="warm")
    ),
    "negative-max_tokens": Mistake("`max_tokens` below 1", fields(messages=TURN, max_tokens=-1)),
    "negative-max_tokens-streamed": Mistake(
        "The same with `stream`: a status, not a stream", fields(messages=TURN, max_tokens=-1, stream=True)
    ),
    "unknown-path": Mistake("A path that does not exist", fields(messages=TURN), (404,), path=NOWHERE),
    "wrong-method": Mistake("A GET where only POST is served", lambda _: None, (405,), method="GET"),
}  # fmt: skip


async def is_refused(mistake: Mistake, stage: Stage) -> str:
    """The mistake is refused in OpenAI's shape."""
    answer = await stage.gateway.send(mistake.method, mistake.path, mistake.body(stage.model))
    expect(answer.broke is None, f"the connection broke: {answer.broke}")
    expect(answer.status >= FIRST_ERROR, f"{answer.status}: taken as right: {answer.start}")
    expect(answer.status < FIRST_SERVER_ERROR, f"{answer.status}: {answer.start}")
    expect(answer.status in mistake.statuses, f"{answer.status} instead of {' or '.join(map(str, mistake.statuses))}")
    expect_shape(answer)
    return f"{answer.status}, {at(answer.json, 'error', 'type')}"


async def failure_is_told(stage: Stage) -> str:
    """A model whose connection breaks in the middle of a body: a 5xx, with the error object."""
    with stage.plays(words("yes it is").with_trouble("reset-amid")) as play:
        answer = await stage.ask(play)
    expect(answer.broke is None, f"the connection broke: {answer.broke}")
    expect(answer.status >= FIRST_SERVER_ERROR, f"{answer.status}: {answer.start}")
    expect_shape(answer)
    return f"{answer.status}, {at(answer.json, 'error', 'type')}"


def expect_shape(answer: Answer) -> None:
    """Raise Wrong where the body is not OpenAI's error object."""
    error = at(answer.json, "error")
    expect(isinstance(error, dict), f"{answer.status} without an error object: {answer.start}")
    missing = [name for name in ("message", "type", "param", "code") if isinstance(error, dict) and name not in error]
    expect(not missing, f"{answer.status}, the error object has no {', '.join(missing)}")
    for name in ("message", "type"):
        text = at(error, name)
        expect(isinstance(text, str) and bool(text), f"{answer.status}, error.{name} is no text")


def meaning(mistake: Mistake) -> str:
    """What the case demands."""
    return f"{mistake.what}: {' or '.join(map(str, mistake.statuses))}, with the error object"


CASES = (
    *(
        Case(AREA, name, meaning(mistake), partial(is_refused, mistake), "nothing")
        for name, mistake in MISTAKES.items()
    ),
    case(AREA, "failed-model", failure_is_told),
)
