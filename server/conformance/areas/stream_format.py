"""The format of chat streams, as OpenAI's clients and their users rely on it."""

import asyncio
import json
from dataclasses import replace

from server.conformance.case import case
from server.conformance.gateway import CHAT
from server.conformance.json_values import JsonObject, at, objects, short
from server.conformance.plays import UNSURE, Play, Reply, says, words
from server.conformance.stage import Stage
from server.conformance.streams import DONE, Folded, folded
from server.conformance.wrong import expect, expect_same, expect_text

AREA = "stream-format"
LONG = 10_000
FAMILY = "👩‍👩‍👧‍👦"


async def is_an_event_stream(stage: Stage) -> str:
    """The content type is `text/event-stream`, and every event's data is JSON or `[DONE]`."""
    answer = await stage.ask_plainly(stream=True)
    answer.streamed()
    kind = answer.headers.get("content-type", "")
    expect(kind.startswith("text/event-stream"), f"content-type: {kind}")
    return f"{len(answer.events)} events"


async def ends_with_done(stage: Stage) -> str:
    """`[DONE]` comes once, and nothing after it."""
    answer = await stage.ask_plainly(stream=True)
    answer.streamed()
    data = [event.data for event in answer.events]
    expect(DONE in data, "no [DONE]")
    expect(data.count(DONE) == 1, f"[DONE] came {data.count(DONE)} times")
    expect(data[-1] == DONE, f"after [DONE]: {data[-1][:60]}")
    return "once, last"


async def chunks_are_alike(stage: Stage) -> str:
    """All chunks have one id, one `created`, one `model`, and the object `chat.completion.chunk`."""
    chunks = (await stage.ask_plainly(stream=True, stream_options={"include_usage": True})).streamed()
    for name in ("id", "created", "model"):
        values = {short(chunk.get(name)) for chunk in chunks}
        expect(len(values) == 1 and values != {"null"}, f"{name}: {', '.join(sorted(values)[:3])}")
    objects_named = {short(chunk.get("object")) for chunk in chunks}
    expect(objects_named == {'"chat.completion.chunk"'}, f"object: {', '.join(objects_named)}")
    return f"{len(chunks)} chunks"


async def role_comes_first_and_once(stage: Stage) -> str:
    """The role `assistant` comes in the first chunk, and in no later one."""
    chunks = (await stage.ask_plainly(stream=True)).streamed()
    choice = folded(chunks).get(0, Folded())
    expect(bool(chunks) and at(chunks[0], "choices", 0, "delta", "role") == "assistant", "the first chunk has no role")
    expect(len(choice.roles) == 1, f"the role came {len(choice.roles)} times")
    return "first, once"


async def finish_reason_comes_last_and_once(stage: Stage) -> str:
    """The finish reason comes once, and no text after it."""
    choice = folded((await stage.ask_plainly(stream=True)).streamed()).get(0, Folded())
    expect(len(choice.finish_reasons) == 1, f"finish_reason came {len(choice.finish_reasons)} times")
    expect(not choice.after_finish, "text after the finish reason")
    return f"once: {choice.finish_reasons[0]}"


async def usage_comes_if_asked(stage: Stage) -> str:
    """With `include_usage` the last chunk has the usage and empty `choices`, and no other chunk has both."""
    chunks = (await stage.ask_plainly(stream=True, stream_options={"include_usage": True})).streamed()
    with_usage = [place for place, chunk in enumerate(chunks) if chunk.get("usage")]
    expect(bool(with_usage), "no usage came")
    expect(with_usage == [len(chunks) - 1], f"usage in the chunks {with_usage} of {len(chunks)}")
    expect_same(chunks[-1].get("choices"), [], "choices of the usage's chunk")
    return "last"


async def usage_does_not_come_unasked(stage: Stage) -> str:
    """Without it no chunk has usage, and none has empty `choices`, over which careless clients stumble."""
    chunks = (await stage.ask_plainly(stream=True)).streamed()
    expect(not any(chunk.get("usage") for chunk in chunks), "usage that nobody asked for")
    expect(all(objects(chunk.get("choices")) for chunk in chunks), "a chunk without choices")
    return "none"


async def scripts_survive(stage: Stage) -> str:
    """Chinese, joined emoji and combining marks come whole, though their parts are tokens of their own, and though the
    model's bytes come 7 at a time."""
    tokens = ["北", "京", *FAMILY, " e", "\u0301", "한", "국", " \u2028", "🇨", "🇭", " ﷽"]
    return await streamed_text(stage, replace(says(*tokens), bytes_at_once=7))


async def empty_deltas_do_no_harm(stage: Stage) -> str:
    """Deltas without text, in the beginning, the middle and the end, change nothing."""
    return await streamed_text(stage, says("", "", "yes", "", " it", " is", ""))


async def comments_do_no_harm(stage: Stage) -> str:
    """Keep-alive comments between the model's events change nothing, and come out as comments or not at all."""
    reply = replace(words("yes it is"), comments=True)
    with stage.plays(reply) as play:
        chunks = (await stage.ask(play, stream=True)).streamed()
    expect(all(objects(chunk.get("choices")) or chunk.get("usage") for chunk in chunks), "a comment became a chunk")
    expect_text(folded(chunks).get(0, Folded()).content, reply.text)
    return f"{len(chunks)} chunks"


async def long_answers_come_whole(stage: Stage) -> str:
    """An answer of 10,000 tokens comes whole."""
    return await streamed_text(stage, words(" ".join(f"w{number}" for number in range(LONG))))


async def streamed_text(stage: Stage, reply: Reply) -> str:
    """Ask for a stream, and compare its text with the reply's."""
    with stage.plays(reply) as play:
        choice = folded((await stage.ask(play, stream=True)).streamed()).get(0, Folded())
    expect_text(choice.content, reply.text)
    return f"{len(reply.pieces):,} tokens"


async def is_live(stage: Stage) -> str:
    """The first text comes before the model has written the last; of a cascade, when the large model answers."""
    with stage.plays(words("hm", UNSURE), large=words("yes it is so").with_trouble("wait-amid")) as play:
        body = stage.body(play.marker, stream=True)
        try:
            async with asyncio.timeout(stage.patience_s):
                first = await first_bytes(stage, body, play)
        except TimeoutError:
            first = b""
    expect(b"yes" in first, f"no text within {stage.patience_s:g} s of the model's first words")
    return "live"


async def first_bytes(stage: Stage, body: JsonObject, play: Play) -> bytes:
    """What comes up to the first text; then the answer goes on to its end."""
    received = bytearray()
    async with stage.gateway.opened("POST", CHAT, json.dumps(body).encode()) as reply:
        async for part in reply.content.iter_any():
            received += part
            if b"yes" in received:
                play.go.set()
    return bytes(received)


CASES = (
    case(AREA, "event-stream", is_an_event_stream, "nothing"),
    case(AREA, "done", ends_with_done, "nothing"),
    case(AREA, "one-identity", chunks_are_alike, "nothing"),
    case(AREA, "role", role_comes_first_and_once, "nothing"),
    case(AREA, "finish-reason", finish_reason_comes_last_and_once, "nothing"),
    case(AREA, "usage-asked", usage_comes_if_asked, "nothing"),
    case(AREA, "usage-unasked", usage_does_not_come_unasked, "nothing"),
    case(AREA, "scripts", scripts_survive),
    case(AREA, "empty-deltas", empty_deltas_do_no_harm),
    case(AREA, "comments", comments_do_no_harm),
    case(AREA, "long-answer", long_answers_come_whole),
    case(AREA, "live", is_live),
)
