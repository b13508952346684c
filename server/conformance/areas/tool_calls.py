"""Tool calls: whole, and in a stream's deltas, which must add up to the whole."""

from server.conformance.case import case
from server.conformance.json_values import Json, JsonObject, at, objects
from server.conformance.plays import Reply, calls
from server.conformance.stage import Stage
from server.conformance.streams import Folded, folded
from server.conformance.wrong import expect, expect_same, expect_text

AREA = "tool-calls"
TOOLS: Json = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("get_weather", "get_time", "ping")
]
WEATHER = ("get_weather", '{"city": "北京 \\"old\\" 👩‍👧", "days": 3}')
TIME = ("get_time", '{"zone": "Asia/Shanghai"}')


async def call_is_kept(stage: Stage) -> str:
    """A tool call comes whole: id, type, name, arguments to the character, and `tool_calls` as finish reason."""
    reply = calls(WEATHER)
    with stage.plays(reply) as play:
        body = (await stage.ask(play, tools=TOOLS)).whole()
    expect_calls(at(body, "choices", 0, "message", "tool_calls"), reply)
    expect_same(at(body, "choices", 0, "finish_reason"), "tool_calls", "finish_reason")
    return "one call"


async def parallel_calls_are_kept(stage: Stage) -> str:
    """Two calls in one answer both come, in order."""
    reply = calls(WEATHER, TIME)
    with stage.plays(reply) as play:
        body = (await stage.ask(play, tools=TOOLS)).whole()
    expect_calls(at(body, "choices", 0, "message", "tool_calls"), reply)
    return "two calls"


async def streamed_call_adds_up(stage: Stage) -> str:
    """A streamed call's pieces add up to the whole; its id and name come once."""
    return await streamed_calls(stage, calls(WEATHER))


async def streamed_parallel_calls_add_up(stage: Stage) -> str:
    """Two streamed calls add up, each under its index."""
    return await streamed_calls(stage, calls(WEATHER, TIME))


async def interleaved_calls_add_up(stage: Stage) -> str:
    """Two streamed calls whose pieces alternate add up, each under its index."""
    return await streamed_calls(stage, calls(WEATHER, TIME, interleaved=True))


async def call_without_arguments_adds_up(stage: Stage) -> str:
    """A streamed call with the arguments `{}` has these."""
    return await streamed_calls(stage, calls(("ping", "{}")))


async def text_before_a_call_is_kept(stage: Stage) -> str:
    """Text before a streamed call comes too, and stays out of the call."""
    return await streamed_calls(stage, calls(WEATHER, before="Let me look 看看"))


async def streamed_calls(stage: Stage, reply: Reply) -> str:
    """Ask for a stream, and compare what it adds up to with the reply."""
    with stage.plays(reply) as play:
        choices = folded((await stage.ask(play, stream=True, tools=TOOLS)).streamed())
    choice = choices.get(0, Folded())
    expect_calls([choice.calls[index] for index in sorted(choice.calls)], reply)
    expect_same([*sorted(choice.calls)], [*range(len(choice.calls))], "the indexes")
    expect_text(choice.content, reply.text)
    expect_same(choice.finish_reasons, ["tool_calls"], "the finish reasons")
    return f"{len(choice.calls)} calls from {len(reply.pieces)} pieces"


def expect_calls(got: Json, reply: Reply) -> None:
    """Raise Wrong where the calls are others than the reply's; a gateway may give them ids of its own."""
    made, wanted = objects(got), objects(reply.message.get("tool_calls"))
    expect(bool(made), "no tool call came")
    expect_same([essence(call) for call in made], [essence(call) for call in wanted], "the calls")
    ids = [at(call, "id") for call in made]
    expect(all(isinstance(one, str) and one for one in ids) and len({*map(str, ids)}) == len(ids), f"the ids are {ids}")


def essence(call: Json) -> JsonObject:
    """A call without its id."""
    return {
        "type": at(call, "type"), "name": at(call, "function", "name"), "arguments": at(call, "function", "arguments"),
    }  # fmt: skip


CASES = (
    case(AREA, "one", call_is_kept),
    case(AREA, "parallel", parallel_calls_are_kept),
    case(AREA, "streamed", streamed_call_adds_up),
    case(AREA, "streamed-parallel", streamed_parallel_calls_add_up),
    case(AREA, "streamed-interleaved", interleaved_calls_add_up),
    case(AREA, "streamed-no-arguments", call_without_arguments_adds_up),
    case(AREA, "streamed-after-text", text_before_a_call_is_kept),
)
