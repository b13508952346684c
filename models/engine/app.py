"""The HTTP surface: vLLM's paths, for what this engine can do."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, TypeAlias

import orjson
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Lifespan
from structlog.typing import FilteringBoundLogger

from models.engine.answering import UsageWish, stream, while_client_stays, whole
from models.engine.bodies import ChatBody, CompletionBody, DetokenizeBody, GenerationBody, TokenizeBody
from models.engine.card import Card
from models.engine.chat import ChatForm
from models.engine.completions import CompletionForm
from models.engine.engine import Engine
from models.engine.errors import EngineError, wire
from models.engine.generation import Generation
from models.engine.metrics import Meter
from models.engine.requests import Reader
from models.engine.tokenizer import Tokenizer
from models.engine.wire import Envelope, Form, Json, Spell, as_text, as_token_id


async def _until_sent() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


UntilSent: TypeAlias = Annotated[contextlib.AsyncExitStack, Depends(_until_sent)]


class Routes:
    """One method for each path."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, card: Card, meter: Meter) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._card = card
        self._meter = meter
        self._reader = Reader(tokenizer, card)

    async def chat(self, request: Request, until_sent: UntilSent) -> Response:
        """/v1/chat/completions"""
        body = ChatBody.parse(await request.body())
        generations = await asyncio.to_thread(self._reader.chat, body)
        form = ChatForm(
            envelope=self._envelope("chatcmpl", request, body),
            prompt=generations[0].prompt,
            choices=len(generations),
            top_logprobs=generations[0].top_logprobs,
            spell=_spell(body),
            return_token_ids=bool(body.return_token_ids),
        )
        return await self._answer(request, until_sent, body, generations, form)

    async def completion(self, request: Request, until_sent: UntilSent) -> Response:
        """/v1/completions"""
        body = CompletionBody.parse(await request.body())
        generations = await asyncio.to_thread(self._reader.completion, body)
        form = CompletionForm(
            envelope=self._envelope("cmpl", request, body),
            prompts=tuple(each.prompt for each in generations),
            top_logprobs=generations[0].top_logprobs,
            spell=_spell(body),
            return_token_ids=bool(body.return_token_ids),
        )
        return await self._answer(request, until_sent, body, generations, form)

    async def tokenize(self, request: Request) -> Response:
        """/tokenize"""
        body = TokenizeBody.parse(await request.body())
        tokens = await asyncio.to_thread(self._reader.tokens, body)
        strings = self._tokenizer.token_strings(tokens) if body.return_token_strs else None
        size = {"count": len(tokens), "max_model_len": self._card.max_model_len}
        return _json({**size, "tokens": tokens, "token_strs": strings})

    async def detokenize(self, request: Request) -> Response:
        """/detokenize"""
        body = DetokenizeBody.parse(await request.body())
        self._reader.check_ids(body)
        return _json({"prompt": await asyncio.to_thread(self._tokenizer.decode_all, body.tokens)})

    async def models(self) -> Response:
        """/v1/models"""
        card = {
            "id": self._card.name,
            "object": "model",
            "created": self._card.created,
            "owned_by": "smallfirst",
            "root": self._card.root,
            "parent": None,
            "max_model_len": self._card.max_model_len,
        }
        return _json({"object": "list", "data": [card]})

    async def version(self) -> Response:
        """/version"""
        return _json({"version": self._card.version})

    async def health(self) -> Response:
        """/health"""
        return Response(status_code=200 if self._engine.alive else 503)

    async def metrics(self) -> Response:
        """/metrics"""
        return Response(self._meter.exposition(), media_type="text/plain; version=0.0.4")

    async def _answer(
        self,
        request: Request,
        until_sent: contextlib.AsyncExitStack,
        body: GenerationBody,
        generations: list[Generation],
        form: Form,
    ) -> Response:
        prompt_tokens = sum(len(each.prompt) for each in generations) // (body.n or 1)
        answer = until_sent.enter_context(self._engine.answer(generations))
        await until_sent.enter_async_context(while_client_stays(request, answer))
        if not body.stream:
            return _json(await whole(answer, form, prompt_tokens))
        events = await until_sent.enter_async_context(
            contextlib.aclosing(stream(answer, form, prompt_tokens, UsageWish.of(body)))
        )
        return StreamingResponse(events, media_type="text/event-stream")

    def _envelope(self, prefix: str, request: Request, body: GenerationBody) -> Envelope:
        named = request.headers.get("x-request-id") or body.request_id
        return Envelope(
            id=f"{prefix}-{named or uuid.uuid4().hex}",
            created=int(time.time()),
            model=self._card.name,
            fingerprint=self._card.fingerprint,
        )


def _spell(body: GenerationBody) -> Spell:
    return as_token_id if body.return_tokens_as_token_ids else as_text


def create_app(routes: Routes, log: FilteringBoundLogger, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """The paths of `routes`, with errors in OpenAI's shape."""
    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_api_route("/v1/chat/completions", routes.chat, methods=["POST"])
    app.add_api_route("/v1/completions", routes.completion, methods=["POST"])
    app.add_api_route("/tokenize", routes.tokenize, methods=["POST"])
    app.add_api_route("/detokenize", routes.detokenize, methods=["POST"])
    app.add_api_route("/v1/models", routes.models)
    app.add_api_route("/version", routes.version)
    app.add_api_route("/health", routes.health)
    app.add_api_route("/metrics", routes.metrics)
    app.add_exception_handler(EngineError, _told)
    app.add_exception_handler(Exception, _logging(log))
    return app


async def _told(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, EngineError) else EngineError("the engine failed")
    status, body = wire(known)
    return _json(body, status=status)


def _logging(log: FilteringBoundLogger) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def tell(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, exc_info=error)
        return await _told(request, error)

    return tell


def _json(what: Json, *, status: int = 200) -> Response:
    return Response(orjson.dumps(what), status, media_type="application/json")
