"""A small gateway that keeps what the API promises, but for the fault that it is given: to show what a suite finds."""

import asyncio
import contextlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

SMALL, LARGE = "conformance-small", "conformance-large"
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
LAST_EVENTS = ("response.completed", "message_stop")
SHOWN = 10  # tokens that one which "goes on" shows at once
Fields = dict[str, Any]


def unchanged(*_: Any) -> None:
    """The honest change."""


@dataclass(frozen=True)
class Fault:
    """What is done wrong: `request`, `whole` and `chunk` change bodies in place (a chunk beside its stream's own
    memory); `flags` name the rest."""

    request: Callable[[Fields], Any] = unchanged
    whole: Callable[[Fields], Any] = unchanged
    chunk: Callable[[Fields, Fields], Any] = unchanged
    flags: frozenset[str] = field(default_factory=frozenset)


def flag(*names: str) -> Fault:
    """A fault of these names."""
    return Fault(flags=frozenset(names))


class Broken(Exception):
    """The model failed; what the client is told."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


BAD = (502, json.dumps({"error": {"message": "broken", "type": "server_error", "param": None, "code": None}}).encode())


class FaultyGateway:
    """In front of one model, or of a cascade named `auto`."""

    def __init__(self, upstream: str, fault: Fault, *, cascade: bool) -> None:
        self._upstream, self._fault, self._cascade = upstream, fault, cascade
        self._latest: Fields = {}
        self._orphans: list[asyncio.Task[web.StreamResponse]] = []
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._shaped])
        for path in PATHS:
            if "chat only" not in fault.flags or "chat" in path:
                app.router.add_post(path, self._post)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for orphan in self._orphans:
            orphan.cancel()
        await asyncio.gather(*self._orphans, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    @web.middleware
    async def _shaped(self, request: web.Request, handler: Any) -> web.StreamResponse:
        keys = (request.headers.get("authorization"), request.headers.get("x-of-the-gateway"))
        if "wants key" in self._fault.flags and keys != ("Bearer sk-1", "yes"):
            return self._refusal(401, "who are you?")
        try:
            return await handler(request)
        except web.HTTPException as refused:
            return self._refusal(refused.status, "no such thing")

    def _refusal(self, status: int, message: str) -> web.Response:
        if "plain errors" in self._fault.flags:
            return web.Response(status=500, text="Internal Server Error")
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return web.json_response({"error": error}, status=status)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        try:
            body = json.loads(await request.read())
        except ValueError:
            return self._refusal(400, "no JSON")
        if not isinstance(body, dict):
            return self._refusal(400, "no JSON object")
        answering = self._answered(request, body)
        if "ignores disconnects" not in self._fault.flags:
            return await answering
        self._orphans.append(asyncio.ensure_future(answering))
        return await asyncio.shield(self._orphans[-1])

    async def _answered(self, request: web.Request, body: Fields) -> web.StreamResponse:
        if "crosstalk" in self._fault.flags:
            self._latest = body
            await asyncio.sleep(0.02)
            body = {**self._latest, "stream": body.get("stream", False)}
        wants_logprobs = body.get("logprobs") is True
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._fault.request(body)
        if self._cascade and body["model"] == "auto":
            body["model"] = LARGE
            draft = await self._draft(request.path, body)
        else:
            draft = None
        view = View(self._fault, wants_logprobs, wants_usage)
        try:
            if body.get("stream"):
                return await self._stream(request, body, draft, view)
            return await self._whole(request, body, draft, view)
        except Broken as broken:
            if "never tells" in self._fault.flags:
                return web.json_response({"choices": [{"index": 0, "message": {"content": ""}}]})
            if "plain errors" in self._fault.flags:
                return self._refusal(500, "")
            kind = {"content_type": "application/json", "headers": broken.headers}
            return web.Response(status=broken.status, body=broken.body, **kind)

    async def _draft(self, path: str, body: Fields) -> "Draft | None":
        """What the small model says; None where it fails."""
        asked = {**body, "model": SMALL, "logprobs": True} if "chat" in path else {**body, "model": SMALL}
        try:
            if not body.get("stream"):
                reply = await self._reply(path, asked)
                return Draft(reply, [], confidence(reply.get("choices", [])))
            lines: list[bytes] = []
            events = [event async for event in self._events(path, asked, lines)]
            return Draft({}, lines, confidence([choice for event in events for choice in event.get("choices", ())]))
        except Broken:
            return None

    async def _whole(self, request: web.Request, body: Fields, draft: "Draft | None", view: "View") -> web.Response:
        flags = self._fault.flags
        if draft and draft.confidence >= 0.5:
            reply = draft.reply
            if "blends" in flags:
                blend(reply, await self._reply(request.path, body))
        elif draft is None and self._cascade and "apologises" in flags:
            return web.json_response({"choices": [{"index": 0, "message": {"content": "the draft failed"}}]})
        else:
            reply = await self._reply(request.path, body)
            if draft and "leaks" in flags:
                reply["x_draft"] = draft.reply
            if draft and "bills both" in flags:
                reply["usage"]["completion_tokens"] += draft.reply["usage"]["completion_tokens"]
                reply["usage"]["total_tokens"] += draft.reply["usage"]["completion_tokens"]
        view.whole(reply)
        if "one shape" in flags and "chat" not in request.path:
            reply = {"object": "chat.completion", "choices": [{"message": {"content": "hello"}}]}
        return web.json_response(reply)

    async def _reply(self, path: str, body: Fields) -> Fields:
        try:
            async with self._session.post(f"{self._upstream}{path}", data=payload(body)) as answer:
                received = await answer.read()
                refuse_bad(answer, received)
                reply = json.loads(received)
        except (aiohttp.ClientError, ValueError) as broken:
            raise Broken(*BAD, {}) from broken
        if not isinstance(reply, dict):
            raise Broken(*BAD, {})
        return reply

    async def _events(self, path: str, body: Fields, lines: list[bytes]) -> Any:
        """The events of a stream that ends well; their lines are kept."""
        finished = False
        try:
            async with self._session.post(f"{self._upstream}{path}", data=payload(body), read_bufsize=2**22) as answer:
                if answer.status != 200 or answer.content_type != "text/event-stream":
                    refuse_bad(answer, await answer.read())
                    raise Broken(*BAD, {})
                async for line in answer.content:
                    if line.startswith(b"data: {"):
                        event = json.loads(line[6:])
                        if event.get("error"):
                            raise Broken(*BAD, {})
                        ends = [choice.get("finish_reason") for choice in event.get("choices") or ()]
                        finished = finished or any(ends) or event.get("type") in LAST_EVENTS
                        lines.append(line)
                        yield event
                    elif line.startswith(b":") and "talks of comments" in self._fault.flags:
                        yield {"comment": line.decode()}
        except (aiohttp.ClientError, ValueError) as broken:
            raise Broken(*BAD, {}) from broken
        if not finished:
            raise Broken(*BAD, {})

    async def _stream(
        self, request: web.Request, body: Fields, draft: "Draft | None", view: "View"
    ) -> web.StreamResponse:
        flags = self._fault.flags
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        if "plain stream" in flags:
            response.content_type = "text/plain"
        sent: list[bytes] = []

        async def send(event: Fields) -> None:
            for written in view.events(event, request.path):
                if "buffers" in flags:
                    sent.append(written)
                else:
                    await begun(response, request)
                    await response.write(written)

        try:
            await self._said(request.path, body, draft, send)
        except Broken as broken:
            if "never tells" in flags:
                await send({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            elif response.prepared:
                await response.write(b"data: " + broken.body + b"\n\n")
                return response
            else:
                raise
        await begun(response, request)
        await response.write(b"".join(sent))
        if "completions" in request.path:
            await response.write(view.done())
        return response

    async def _said(self, path: str, body: Fields, draft: "Draft | None", send: Any) -> None:
        flags = self._fault.flags
        if draft is None and self._cascade and "apologises" in flags:
            await send({"choices": [{"index": 0, "delta": {"content": "the draft failed"}, "finish_reason": "stop"}]})
            return
        drafted = [json.loads(line[6:]) for line in draft.lines] if draft else []
        if draft and draft.confidence >= 0.5:
            for event in drafted:
                await send(event)
            return
        if draft and "leaks" in flags:
            for event in drafted:
                await send(event)
        if "goes on" in flags and len(drafted) > SHOWN and sure_throughout(drafted[: SHOWN + 1]):
            await self._gone_on(path, body, drafted[: SHOWN + 1], send)
            return
        async for event in self._events(path, body, []):
            await send(event)

    async def _gone_on(self, path: str, body: Fields, shown: list[Fields], send: Any) -> None:
        for event in shown:
            await send(event)
        async for event in self._events(path, going_on(body, shown), []):
            if "role" not in (event.get("choices") or [{"delta": {}}])[0]["delta"]:
                await send(event)


async def begun(response: web.StreamResponse, request: web.Request) -> None:
    """Send the headers, if they were not sent."""
    if not response.prepared:
        await response.prepare(request)


@dataclass
class Draft:
    """What the small model said, whole or as a stream's lines."""

    reply: Fields
    lines: list[bytes]
    confidence: float


@dataclass
class View:
    """What the client gets to see of a reply."""

    fault: Fault
    wants_logprobs: bool
    wants_usage: bool
    memory: Fields = field(default_factory=dict)

    def whole(self, reply: Fields) -> None:
        self._hide(reply)
        self.fault.whole(reply)

    def events(self, event: Fields, path: str) -> list[bytes]:
        flags = self.fault.flags
        if "one shape" in flags and "chat" not in path:
            event = {"object": "chat.completion.chunk", "choices": []}
        chats = "chat" in path
        usage_alone = chats and not event.get("choices") and bool(event.get("usage"))
        if usage_alone and not (self.wants_usage or "shows usage" in flags):
            return []
        if chats:
            self._hide(event)
            self.fault.chunk(event, self.memory)
        if event.pop("drop", False):
            return []
        name = f"event: {event['type']}\n".encode() if "type" in event else b""
        return [name + b"data: " + json.dumps(event).encode() + b"\n\n"] * (2 if event.pop("twice", False) else 1)

    def done(self) -> bytes:
        flags = self.fault.flags
        return b"" if "no end" in flags else b"data: [DONE]\n\n" * (2 if "two ends" in flags else 1)

    def _hide(self, reply: Fields) -> None:
        for choice in reply.get("choices") or ():
            if not self.wants_logprobs and "shows logprobs" not in self.fault.flags and "logprobs" in choice:
                choice["logprobs"] = None


def payload(body: Fields) -> io.BytesIO:
    """A body of any size."""
    return io.BytesIO(json.dumps(body).encode())


def refuse_bad(answer: aiohttp.ClientResponse, received: bytes) -> None:
    """Pass a model's error on, in the API's shape."""
    if answer.status == 200:
        return
    waits = {"retry-after": answer.headers["retry-after"]} if "retry-after" in answer.headers else {}
    with contextlib.suppress(ValueError):
        json.loads(received)
        raise Broken(answer.status, received, waits)
    raise Broken(*BAD, {})


def confidence(choices: list[Fields]) -> float:
    """The geometric mean of the tokens' probabilities; that of an answer without any is 1."""
    tokens = [token["logprob"] for choice in choices for token in (choice.get("logprobs") or {}).get("content") or ()]
    return math.exp(sum(tokens) / len(tokens)) if tokens else 1.0


def sure_throughout(events: list[Fields]) -> bool:
    """Whether every token of these chunks was likely."""
    return all(confidence(event.get("choices", [])) > 0.5 for event in events)


def going_on(body: Fields, begun: list[Fields]) -> Fields:
    """The request for the rest of an answer, by text."""
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in begun)
    messages = [*body["messages"], {"role": "assistant", "content": text}]
    return {**body, "messages": messages, "continue_final_message": True, "add_generation_prompt": False}


def blend(reply: Fields, other: Fields) -> None:
    """The first half of one answer and the second half of the other."""
    for choice, second in zip(reply.get("choices", ()), other.get("choices", ()), strict=False):
        if "message" in choice and choice["message"].get("content"):
            one, two = choice["message"]["content"], second["message"]["content"]
            choice["message"]["content"] = one[: len(one) // 2] + two[len(two) // 2 :]
