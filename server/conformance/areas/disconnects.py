"""Disconnects: a client that leaves stops the model's work, whenever that is."""

import asyncio
import contextlib
import json

import aiohttp

from server.conformance.case import case
from server.conformance.gateway import CHAT, within
from server.conformance.json_values import JsonObject
from server.conformance.plays import UNSURE, Play, Trouble, words
from server.conformance.stage import Stage
from server.conformance.wrong import expect

AREA = "disconnects"
ASKED_S = 10.0
TEXT = words("yes it is so")


async def waiting_client_leaves(stage: Stage) -> str:
    """A client that waits for a whole answer leaves before the model has said anything."""
    return await leaves(stage, "hang", {})


async def waiting_client_leaves_amid(stage: Stage) -> str:
    """The same when the model has sent half of the body."""
    return await leaves(stage, "hang-amid", {})


async def streaming_client_leaves(stage: Stage) -> str:
    """A client that streams leaves before the first byte."""
    return await leaves(stage, "hang", {"stream": True})


async def leaves(stage: Stage, trouble: Trouble, fields: JsonObject) -> str:
    """Ask, wait until the model hangs, and leave; then the model's connection must close."""
    with stage.plays(TEXT.with_trouble(trouble)) as play:
        return await left_hanging(stage, play, fields, "the request did not reach the model")


async def left_hanging(stage: Stage, play: Play, fields: JsonObject, otherwise: str) -> str:
    """Ask, wait until a model of the play hangs, and leave; `otherwise` is what was seen if none does."""
    asking = asyncio.ensure_future(stage.ask(play, **fields))
    try:
        expect(await within(ASKED_S, play.hanging), otherwise)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    return await stopped(stage, play)


async def reading_client_leaves(stage: Stage) -> str:
    """A client that streams leaves after the first text; of a cascade, the large model's."""
    with stage.plays(words("hm", UNSURE), large=TEXT.with_trouble("hang-amid")) as play:
        body = json.dumps(stage.body(play.marker, stream=True)).encode()
        received = b""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(stage.patience_s), stage.gateway.opened("POST", CHAT, body) as reply:
                while b"yes" not in received and (part := await reply.content.readany()):
                    received += part
        expect(b"yes" in received, "no text came while the model was writing")
        return await stopped(stage, play)


async def escalated_client_leaves(stage: Stage) -> str:
    """A client leaves while the large model, after the small one, is asked."""
    with stage.plays(words("hm", UNSURE), large=TEXT.with_trouble("hang")) as play:
        return await left_hanging(stage, play, {}, "the request did not reach the large model")


async def stopped(stage: Stage, play: Play) -> str:
    """Raise Wrong unless the model's caller leaves in time."""
    loop = asyncio.get_running_loop()
    left_s = loop.time()
    expect(await within(stage.patience_s, play.left), f"the model still worked {stage.patience_s:g} s later")
    return f"stopped after {1000 * (loop.time() - left_s):.0f} ms"


CASES = (
    case(AREA, "whole-before", waiting_client_leaves),
    case(AREA, "whole-amid", waiting_client_leaves_amid),
    case(AREA, "stream-before", streaming_client_leaves),
    case(AREA, "stream-amid", reading_client_leaves),
    case(AREA, "escalated", escalated_client_leaves, "cascade"),
)
