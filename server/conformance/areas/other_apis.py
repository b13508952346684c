"""The other APIs, where a gateway serves them: a basic answer, a stream, a broken stream, and a mistake."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from server.conformance.case import Case, Run
from server.conformance.gateway import FIRST_ERROR, OK, Answer
from server.conformance.json_values import Json, JsonObject, at, objects
from server.conformance.plays import words
from server.conformance.stage import Stage
from server.conformance.streams import DONE, text_at
from server.conformance.wrong import NotServed, Wrong, expect, expect_same, expect_text

REPLY = words("yes it is naïve 北京 👩‍👧 and more of it")
NOT_SERVED = (404, 405)
FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Api:
    """One API: its path, a request's own fields for a prompt, its text whole and streamed (which also raise Wrong where
    the shape is another one), and where an error's message is."""

    name: str
    path: str
    prompt: Callable[[str], JsonObject]
    whole: Callable[[Json], str]
    streamed: Callable[[Answer], str]


def completion_text(body: Json) -> str:
    """Of a text completion."""
    expect_same(at(body, "object"), "text_completion", "object")
    expect(bool(text_at(at(body, "choices", 0), "finish_reason")), "no finish_reason")
    expect_sum(at(body, "usage"), "prompt_tokens", "completion_tokens")
    return text_at(at(body, "choices", 0), "text")


def completion_stream(answer: Answer) -> str:
    """Of its chunks; one finish reason, and `[DONE]` at the end."""
    expect(bool(answer.events) and answer.events[-1].data == DONE, "no [DONE] at the end")
    choices = [choice for chunk in answer.chunks for choice in objects(chunk.get("choices"))]
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    expect(len(reasons) == 1, f"finish_reason came {len(reasons)} times")
    return "".join(text_at(choice, "text") for choice in choices)


def response_text(body: Json) -> str:
    """Of a response: the texts of its messages."""
    expect_same(at(body, "object"), "response", "object")
    expect_same(at(body, "status"), "completed", "status")
    expect_sum(at(body, "usage"), "input_tokens", "output_tokens")
    items = [item for item in objects(at(body, "output")) if item.get("type") == "message"]
    return "".join(text_at(part, "text") for item in items for part in objects(item.get("content")))


def response_stream(answer: Answer) -> str:
    """Of its deltas; `response.created` first, `response.completed` last with the same text, numbers that go up."""
    events = [event.json for event in answer.events if event.data != DONE]
    kinds = [at(event, "type") for event in events]
    expect(bool(kinds) and kinds[0] == "response.created", f"the first event is {kinds[0] if kinds else None}")
    expect(kinds[-1] == "response.completed", f"the last event is {kinds[-1]}")
    numbers = [number for event in events if isinstance(number := at(event, "sequence_number"), int)]
    expect(len(numbers) == len(events) and numbers == sorted(set(numbers)), "sequence_number does not go up")
    text = "".join(text_at(event, "delta") for event in events if at(event, "type") == "response.output_text.delta")
    expect_text(response_text(at(events[-1], "response")), text, "the completed response's text")
    return text


def message_text(body: Json) -> str:
    """Of a message."""
    expect_same(at(body, "type"), "message", "type")
    expect_same(at(body, "role"), "assistant", "role")
    expect_same(at(body, "stop_reason"), "end_turn", "stop_reason")
    for name in ("input_tokens", "output_tokens"):
        expect(isinstance(at(body, "usage", name), int), f"no usage.{name}")
    return "".join(text_at(block, "text") for block in objects(at(body, "content")) if block.get("type") == "text")


def message_stream(answer: Answer) -> str:
    """Of its deltas; `message_start` first, `message_stop` last, blocks that are started and stopped, named events."""
    events = [(event.name, event.json) for event in answer.events]
    kinds = [at(event, "type") for _, event in events if at(event, "type") != "ping"]
    expect(bool(kinds) and kinds[0] == "message_start", f"the first event is {kinds[0] if kinds else None}")
    expect(kinds[-1] == "message_stop", f"the last event is {kinds[-1]}")
    expect(kinds.count("content_block_start") == kinds.count("content_block_stop") > 0, "a block is not closed")
    expect(all(name == at(event, "type") for name, event in events), "an event is not named by its type")
    stops = [at(event, "delta", "stop_reason") for _, event in events if at(event, "type") == "message_delta"]
    expect([stop for stop in stops if stop] == ["end_turn"], f"stop_reason: {stops}")
    return "".join(text_at(at(event, "delta"), "text") for _, event in events)


def expect_sum(usage: Json, prompt: str, completion: str) -> None:
    """Raise Wrong where the usage does not add up."""
    counts = [at(usage, name) for name in (prompt, completion, "total_tokens")]
    one, other, total = counts
    adds = isinstance(one, int) and isinstance(other, int) and one + other == total
    expect(adds, f"usage: {one} + {other} is not {total}")


COMPLETIONS = Api("completions", "/v1/completions", lambda prompt: {"prompt": prompt, "max_tokens": 64},
                  completion_text, completion_stream)  # fmt: skip
RESPONSES = Api("responses", "/v1/responses", lambda prompt: {"input": prompt}, response_text, response_stream)
MESSAGES = Api(
    "messages", "/v1/messages",
    lambda prompt: {"max_tokens": 64, "messages": [{"role": "user", "content": prompt}]}, message_text, message_stream,
)  # fmt: skip


async def answers(api: Api, stage: Stage) -> str:
    """A whole answer."""
    with stage.plays(REPLY) as play:
        answer = await stage.gateway.post(api.path, {"model": stage.model, **api.prompt(play.marker)})
    served(answer)
    expect_text(api.whole(answer.whole()), REPLY.text)
    return "whole"


async def streams(api: Api, stage: Stage) -> str:
    """A streamed answer."""
    with stage.plays(REPLY) as play:
        answer = await stage.gateway.post(api.path, {"model": stage.model, "stream": True, **api.prompt(play.marker)})
    served(answer)
    answer.succeeded()
    expect(answer.error_event() is None, f"an error event: {answer.error_event()}")
    expect_text(api.streamed(answer), REPLY.text)
    return f"{len(answer.events)} events"


async def tells_of_breaks(api: Api, stage: Stage) -> str:
    """A stream that breaks."""
    with stage.plays(REPLY.with_trouble("reset-amid")) as play:
        answer = await stage.gateway.post(api.path, {"model": stage.model, "stream": True, **api.prompt(play.marker)})
    served(answer)
    if answer.status >= FIRST_ERROR:
        return f"{answer.status}"
    if answer.broke is not None:
        return f"the connection broke: {answer.broke}"
    if answer.error_event() is not None:
        return "an error event"
    raise Wrong("the stream ended as if it were whole")


async def refuses(api: Api, stage: Stage) -> str:
    """A mistake."""
    answer = await stage.gateway.post(api.path, {"model": stage.model, "max_tokens": 64})
    served(answer)
    expect(FIRST_ERROR <= answer.status < FIRST_SERVER_ERROR, f"{answer.status}: {answer.start}")
    for name in ("message", "type"):
        text = at(answer.json, "error", name)
        expect(isinstance(text, str) and bool(text), f"{answer.status} without error.{name}: {answer.start}")
    if api is MESSAGES:
        expect_same(at(answer.json, "type"), "error", "type")
    return f"{answer.status}, {at(answer.json, 'error', 'type')}"


def served(answer: Answer) -> None:
    """Raise NotServed where the gateway does not know the path."""
    if answer.status in NOT_SERVED:
        raise NotServed(f"{answer.status}")
    expect(answer.status != OK or bool(answer.body) or answer.broke is not None, "200 with nothing")


def cases_of(api: Api) -> tuple[Case, ...]:
    """The cases of one API."""
    kinds: tuple[tuple[str, Run, str], ...] = (
        ("answer", partial(answers, api), "the text, the usage and the shape of a whole answer are right"),
        ("stream", partial(streams, api), "the events come in their order, and add up to the text"),
        ("stream-cut", partial(tells_of_breaks, api), "a stream whose model breaks is an error, not an end"),
        ("error", partial(refuses, api), "a request without its prompt is a 4xx with the API's error object"),
    )
    return tuple(Case(api.name, name, f"`{api.path}`: {what}", run) for name, run, what in kinds)


CASES = (*cases_of(COMPLETIONS), *cases_of(RESPONSES), *cases_of(MESSAGES))
