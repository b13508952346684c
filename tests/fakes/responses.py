"""What tests of the Responses API share: strict reading of what the gateway sends, by the official client's models."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pydantic
from openai.types.responses import Response, ResponseStreamEvent

SEARCH: Any = {
    "type": "function", "name": "search", "description": "Look something up", "strict": True,
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
}  # fmt: skip

# What is ours, or OpenAI's own API says and its client's models do not.
EXTRA = {"store", "smallfirst", "error", "name", "bytes"}
EVENT = pydantic.TypeAdapter(ResponseStreamEvent)


def strict_response(shown: Any) -> Response:
    """The response, all of whose fields the official client knows and finds right."""
    response = Response.model_validate_json(json.dumps(shown), strict=True)
    assert extras_of(response) <= EXTRA
    return response


def strict_event(data: bytes) -> Any:
    """As `strict_response`, for an event of a stream."""
    event = EVENT.validate_json(data, strict=True)
    assert extras_of(event) <= EXTRA
    return event


def extras_of(value: Any) -> set[str]:
    """The names, at any depth, that the models do not know."""
    return set(all_extras(value))


def all_extras(value: Any) -> Iterator[str]:
    """As `extras_of`."""
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or {}
        for name in type(value).model_fields:
            yield from all_extras(getattr(value, name))
    elif isinstance(value, list):
        for one in value:
            yield from all_extras(one)


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call as chat has it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def read_events(body: bytes) -> list[dict[str, Any]]:
    """The events in a stream's bytes; each is right, in its place, and named as its data says."""
    events = []
    for number, block in enumerate(body.decode().removesuffix("\n\n").split("\n\n")):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        strict_event(data.removeprefix("data: ").encode())
        events.append(event)
    return events


async def events_of(url: str, **fields: Any) -> list[dict[str, Any]]:
    """The events of one request."""
    body = {"model": "auto", "input": "is it?", "stream": True, **fields}
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/responses", json=body) as reply,
    ):
        assert reply.headers["content-type"].startswith("text/event-stream")
        return read_events(await reply.read())


def folded(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output as a client makes it of the pieces alone: of what is added, and of the deltas."""
    items: list[dict[str, Any]] = []
    for event in events:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(items)
                items.append(event["item"])
            case "content_part.added":
                item = items[event["output_index"]]
                assert (item["id"], len(item["content"])) == (event["item_id"], event["content_index"])
                item["content"].append(event["part"])
            case "output_text.delta" | "reasoning_text.delta" | "refusal.delta":
                part = items[event["output_index"]]["content"][event["content_index"]]
                part["refusal" if "refusal" in part else "text"] += event["delta"]
                if event["type"] == "response.output_text.delta":
                    part["logprobs"] += event["logprobs"]
            case "function_call_arguments.delta":
                items[event["output_index"]]["arguments"] += event["delta"]
            case "output_item.done":
                items[event["output_index"]]["status"] = event["item"]["status"]
    return items


async def until(happened: Callable[[], bool]) -> None:
    """Wait for it, but not for ever."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
