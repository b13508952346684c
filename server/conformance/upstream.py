"""The scripted model server that the gateway under test is put in front of: it shows what reaches a model, and says
what a case wants said. A case's requests are known by the marker in the user's message."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Self

from aiohttp import web

from server.conformance import chat_wire, other_wires
from server.conformance.json_values import Json, JsonObject, at
from server.conformance.plays import LARGE, SMALL, Play, Reply, Request, words
from server.conformance.refusals import error_body, refusal
from server.conformance.tokens import Tokenizer, already_written

MAX_BODY_BYTES = 64 * 2**20
MARKER = re.compile(rb"case:[a-z0-9./_-]+#[0-9]+;")
BROKEN_STATUS = {"500": 500, "500-html": 500, "503": 503, "429": 429}
RETRY_AFTER_S = 7
CONTEXT_TOKENS = 1_000_000
HTML = "<html><body>Bad gateway</body></html>"

Whole = Callable[[Reply, JsonObject], JsonObject]
Events = Callable[[Reply, JsonObject], list[bytes]]
WIRES: dict[str, tuple[Whole, Events]] = {
    "/v1/chat/completions": (chat_wire.whole_chat, chat_wire.chat_events),
    "/v1/completions": (other_wires.whole_completion, other_wires.completion_events),
    "/v1/responses": (other_wires.whole_response, other_wires.response_events),
    "/v1/messages": (other_wires.whole_message, other_wires.message_events),
}


class Upstream:
    """Serves the plays that are on; a request without a marker, such as a gateway's own probe, gets a greeting.
    `was_asked`: a request that was right has come; `has_failed`: a play was put on in which something goes wrong."""

    def __init__(self, port: int) -> None:
        self._plays: dict[str, Play] = {}
        self._numbers = count(1)
        self._port = port
        self._tokenizer = Tokenizer()
        self.was_asked = False
        self.has_failed = False
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for path in WIRES:
            app.router.add_post(path, self._answer)
        app.router.add_get("/v1/models", list_models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def put_on(self, case: str, small: Reply, large: Reply) -> Play:
        """A play for a case, until it is taken off."""
        play = Play(f"case:{case}#{next(self._numbers)};", small, large)
        self._plays[play.marker] = play
        self._tokenizer.learn(piece.token for reply in (small, large) for piece in reply.pieces)
        self.has_failed = self.has_failed or {small.trouble, large.trouble} != {"none"}
        return play

    def take_off(self, play: Play) -> None:
        """Nobody asks for this play any more."""
        del self._plays[play.marker]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        received = await request.read()
        body = loaded(received)
        refused = refusal(request.path, body, (SMALL, LARGE))
        if refused is not None or not isinstance(body, dict):
            status, error = refused or (400, error_body(request.path, "no JSON object", "BadRequestError", 400))
            return web.json_response(error, status=status)
        self.was_asked = True
        marker = MARKER.search(received)
        play = self._plays.get(marker.group().decode()) if marker else None
        if play is None:
            play = Play("", words("hello there"), words("hello there"))
        play.requests.append(Request(request.path, body))
        try:
            return await performed(request, body, play)
        except (asyncio.CancelledError, ConnectionResetError):
            play.left.set()
            raise

    async def _tokenize(self, request: web.Request) -> web.Response:
        ids = self._tokenizer.ids(str(at(loaded(await request.read()), "prompt")))
        return web.json_response({"tokens": ids, "count": len(ids), "max_model_len": CONTEXT_TOKENS})

    async def _detokenize(self, request: web.Request) -> web.Response:
        return web.json_response({"prompt": self._tokenizer.text(at(loaded(await request.read()), "tokens"))})


async def performed(request: web.Request, body: JsonObject, play: Play) -> web.StreamResponse:
    """The play's reply to this request, or what goes wrong in its place."""
    reply = play.reply_to(body.get("model")).rest(already_written(body))
    match reply.trouble:
        case "hang":
            await hung(play)
        case "not-json":
            return web.Response(text='{"id": "chatcmpl', content_type="application/json")
        case "html":
            return web.Response(text=HTML, content_type="text/html")
        case "empty":
            return web.Response(content_type="application/json")
        case "500-html":
            return web.Response(status=500, text=HTML, content_type="text/html")
        case "500" | "503" | "429":
            status = BROKEN_STATUS[reply.trouble]
            headers = {"retry-after": str(RETRY_AFTER_S)} if status != BROKEN_STATUS["500"] else {}
            error = error_body(request.path, "scripted failure", "ScriptedError", status)
            return web.json_response(error, status=status, headers=headers)
    whole, events = WIRES[request.path]
    if body.get("stream") is True:
        return await sent(request, reply, play, events(reply, body), "text/event-stream")
    written = json.dumps(whole(reply, body), ensure_ascii=False).encode()
    middle = len(written) // 2
    return await sent(request, reply, play, [written[:middle], written[middle:]], "application/json")


async def sent(
    request: web.Request, reply: Reply, play: Play, parts: list[bytes], content_type: str
) -> web.StreamResponse:
    """Send the parts, with the reply's trouble in the middle of them."""
    response = web.StreamResponse(headers={"content-type": content_type})
    streams = content_type == "text/event-stream"
    if not streams and reply.trouble != "end-amid":
        response.content_length = sum(map(len, parts))
    await response.prepare(request)
    middle = len(parts) // 2
    await write(response, parts[:middle], reply.bytes_at_once)
    match reply.trouble:
        case "hang-amid":
            await hung(play)
        case "wait-amid":
            await play.go.wait()
        case "reset-amid":
            if request.transport is not None:
                request.transport.abort()
            return response
        case "end-amid":
            return response
        case "error-amid" if streams:
            error = error_body(request.path, "scripted failure", "ScriptedError", BROKEN_STATUS["500"])
            await response.write(chat_wire.event(error))
            return response
    await write(response, parts[middle:], reply.bytes_at_once)
    return response


async def hung(play: Play) -> None:
    """Until whoever waits leaves."""
    play.hanging.set()
    await asyncio.Event().wait()


async def write(response: web.StreamResponse, parts: list[bytes], bytes_at_once: int | None) -> None:
    """Send the parts, or what they are together in pieces of a size."""
    if bytes_at_once is None:
        for part in parts:
            await response.write(part)
        return
    together = b"".join(parts)
    for start in range(0, len(together), bytes_at_once):
        await response.write(together[start : start + bytes_at_once])
        await asyncio.sleep(0)


async def list_models(_request: web.Request) -> web.Response:
    """The two models."""
    cards = [{"id": name, "object": "model", "created": chat_wire.CREATED, "owned_by": "conformance",
              "max_model_len": CONTEXT_TOKENS} for name in (SMALL, LARGE)]  # fmt: skip
    return web.json_response({"object": "list", "data": cards})


def loaded(received: bytes) -> Json:
    """The JSON of a body, or None."""
    with suppress(ValueError):
        value: Json = json.loads(received)
        return value
    return None
