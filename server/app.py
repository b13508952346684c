"""The gateway's HTTP application: routes, and what they share. Knows nothing of how a draft is judged."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from random import Random

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import ModelError, TimedOut
from models.wire import JsonObject
from router.cascade import Cascade
from server.answering import Answer, Order, unless_gone
from server.auditing import Ticket, auditing
from server.building import Served, auditor_of, build, new_session
from server.cascades import Overseen, cascade_card
from server.doors.chat import CHAT
from server.doors.completion import COMPLETION
from server.doors.door import Arrival, Asked, Door
from server.doors.feedback import MOST_BYTES, read_feedback
from server.doors.messages import MESSAGES
from server.doors.messages_count import COUNT_PATH, counted, read_count
from server.doors.responses import RESPONSES, not_stored
from server.errors import INTERNAL, Problem, RequestError, openai_error, problem_of, status_problem
from server.headers import id_headers
from server.metrics import Metrics
from server.passing import ENDPOINTS, Errand, Passage, read_passed, tier_of
from server.pools import pool_card, watched
from server.readiness import Readiness
from server.recall import Unavailable, heard, recalled
from server.routing import found, routed, unknown_model
from server.settings.schema import ServerSettings, Settings, is_loopback
from server.store.memory import MemoryLedger
from server.store.opening import Keeping, opened

log = structlog.get_logger()

DOORS = (CHAT, COMPLETION, RESPONSES, MESSAGES)
MAX_LENGTH_DIGITS = 19
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def create_app(settings: Settings, state: Path | None = None) -> FastAPI:
    """The gateway for these settings; it calls the tiers' `urls`, whoever started the servers there. `state` is the
    folder of what is kept where the settings name none; without either nothing is kept."""
    app = FastAPI(
        title="smallfirst", version=version("smallfirst"), lifespan=lifespan, openapi_url=None, redirect_slashes=False
    )
    app.state.settings = settings
    app.state.state = state
    app.state.metrics = Metrics()
    for door in DOORS:
        app.add_api_route(door.path, answering(door), methods=["POST"])
    app.add_api_route(RESPONSES.path + "/{response_id}", not_stored, methods=["GET", "DELETE"])
    app.add_api_route(RESPONSES.path + "/{response_id}/cancel", not_stored, methods=["POST"])
    app.add_api_route(RESPONSES.path + "/{response_id}/input_items", not_stored, methods=["GET"])
    for path in ENDPOINTS:
        app.add_api_route(path, passing(path), methods=["POST"])
    app.add_api_route(COUNT_PATH, count_tokens, methods=["POST"])
    app.add_api_route("/v1/decisions/{decision_id}", get_decision, methods=["GET"])
    app.add_api_route("/v1/feedback", take_feedback, methods=["POST"])
    app.add_api_route("/v1/models", list_models, methods=["GET"])
    app.add_api_route("/v1/models/{model}", get_model, methods=["GET"])
    app.add_api_route("/v1/pools", list_pools, methods=["GET"])
    app.add_api_route("/v1/cascades", list_cascades, methods=["GET"])
    app.add_api_route("/health", health, methods=["GET", "HEAD"])
    app.add_api_route("/ready", ready, methods=["GET", "HEAD"])
    app.add_api_route("/metrics", metrics, methods=["GET"])
    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(ModelError, not_answered)
    app.add_exception_handler(Unavailable, not_available)
    app.add_exception_handler(ClientDisconnect, nobody_there)
    app.add_exception_handler(HTTPException, not_routed)
    app.add_exception_handler(Exception, failed)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The connections to the servers live as long as the application."""
    settings: Settings = app.state.settings
    async with new_session() as session, opened(settings.store, app.state.state, app.state.metrics.registry) as keeping:
        app.state.keeping = keeping
        served = app.state.served = build(settings, session)
        app.state.readiness = Readiness(served)
        app.state.started_s = int(time.time())
        app.state.metrics.watch(served.pools)
        overseen = app.state.overseen = oversee(app, served)
        auditors = [one.auditor for one in overseen.values()]
        at_once = {name: cascade.audits.at_once for name, cascade in settings.cascades.items()}
        async with watched(served.pools), auditing(auditors, at_once):
            yield


def oversee(app: FastAPI, served: Served) -> dict[str, Overseen]:
    """The cascades by their names, each with its auditor."""
    settings: Settings = app.state.settings
    keeping: Keeping | None = app.state.keeping
    ledger = MemoryLedger() if keeping is None else keeping.keeper
    metrics, draw = app.state.metrics, Random()
    overseen = {
        name: Overseen(
            served.cascades[name],
            auditor_of(name, cascade.audits, served, ledger=ledger, counting=metrics, draw=draw),
            served.pools[served.cascades[name].final.name],
        )
        for name, cascade in settings.cascades.items()
    }
    if keeping is not None:
        for one in overseen.values():
            one.auditor.watch.remembers()
    metrics.oversee([*overseen.values()])
    return overseen


def answering(door: Door) -> Callable[[Request], Awaitable[Response]]:
    """The route behind a door: a cascade, or a tier, of the name in `model` answers."""

    async def answered(request: Request) -> Response:
        settings: Settings = request.app.state.settings
        refuse_strangers(request)
        body = await read_body(request, settings.server)
        began_s = time.perf_counter()
        asked = door.read(body, Arrival(request_id_of(request), int(time.time()), request.headers))
        cascade = routed(asked, request.app.state.served)
        order = Order(cascade, asked, door, settings.server.deadline_s, began_s, ticket_of(request, cascade, asked))
        return Answer(order, request.app.state.metrics, request.app.state.keeping)

    return answered


def ticket_of(request: Request, cascade: Cascade, asked: Asked) -> Ticket | None:
    """The request's part in its cascade's audits; none where it is judged as it wants itself."""
    overseen: dict[str, Overseen] = request.app.state.overseen
    if cascade.name not in overseen or asked.controls.decides or cascade.policy.mode == "exact":
        return None
    return overseen[cascade.name].auditor.ticket(asked.prompt, cascade.policy)


def passing(path: str) -> Callable[[Request], Awaitable[Response]]:
    """The route to a tier's own endpoint of that path."""

    async def passed(request: Request) -> Response:
        server: ServerSettings = request.app.state.settings.server
        served: Served = request.app.state.served
        refuse_strangers(request)
        body = await read_body(request, server)
        asked, fields = read_passed(body)
        tier = tier_of(found(asked, served), path)
        pool = served.pools[tier.name]
        errand = Errand(path, fields, asked, tier, pool, request_id_of(request), server.deadline_s)
        return Passage(errand, request.app.state.metrics)

    return passed


async def count_tokens(request: Request) -> JSONResponse:
    """How many tokens a conversation is to the first tier that can tell."""
    settings: Settings = request.app.state.settings
    served: Served = request.app.state.served
    refuse_strangers(request)
    request_id = request_id_of(request)
    model, fields = read_count(await read_body(request, settings.server))
    tiers = found(model, served).tiers
    work = counted(fields, [served.pools[tier.name] for tier in tiers], request_id)
    try:
        async with asyncio.timeout(settings.server.deadline_s):
            tokens = await unless_gone(work, request.receive)
    except TimeoutError as late:
        raise TimedOut("no tier counted within the gateway's deadline") from late
    if tokens is None:
        raise ClientDisconnect
    return JSONResponse({"input_tokens": tokens}, headers=id_headers(request_id))


async def get_decision(request: Request, decision_id: str) -> Response:
    """Why a request went where it went, and what it cost."""
    refuse_strangers(request)
    return await recalled(request.app.state.keeping, decision_id)


async def take_feedback(request: Request) -> JSONResponse:
    """What somebody thinks of an answer."""
    server: ServerSettings = request.app.state.settings.server
    refuse_strangers(request)
    body = await read_body(request, server, most=MOST_BYTES)
    return await heard(request.app.state.keeping, read_feedback(body))


async def list_models(request: Request) -> JSONResponse:
    """Cascades first, then tiers."""
    refuse_strangers(request)
    return JSONResponse({"object": "list", "data": model_cards(request)})


async def get_model(request: Request, model: str) -> JSONResponse:
    """One of them."""
    refuse_strangers(request)
    card = next((card for card in model_cards(request) if card["id"] == model), None)
    if card is None:
        raise unknown_model(model, request.app.state.served)
    return JSONResponse(card)


def model_cards(request: Request) -> list[JsonObject]:
    """What clients can name as `model`, in OpenAI's shape; `smallfirst` says what each one is."""
    served: Served = request.app.state.served
    kinds: dict[str, JsonObject] = {
        **{name: {"kind": "cascade", "tiers": [tier.name for tier in cascade.tiers]}
           for name, cascade in served.cascades.items()},
        **{name: {"kind": "tier"} for name in served.tiers},
    }  # fmt: skip
    created = request.app.state.started_s
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "smallfirst", "smallfirst": kind}
        for name, kind in kinds.items()
    ]


async def list_pools(request: Request) -> JSONResponse:
    """Each tier's servers: what they can do, how busy they are, and whether they are asked."""
    refuse_strangers(request)
    served: Served = request.app.state.served
    return JSONResponse({"object": "list", "data": [pool_card(name, pool) for name, pool in served.pools.items()]})


async def list_cascades(request: Request) -> JSONResponse:
    """Where each cascade stands: its threshold, budget, audits and certificate."""
    refuse_strangers(request)
    overseen: dict[str, Overseen] = request.app.state.overseen
    return JSONResponse({"object": "list", "data": [cascade_card(one) for one in overseen.values()]})


async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """200 when every cascade's final tier answers, else 503; with each tier's state."""
    readiness: Readiness = request.app.state.readiness
    up = await readiness.tiers()
    is_ready = readiness.can_answer(up)
    tiers = {name: "up" if is_up else "down" for name, is_up in up.items()}
    return JSONResponse({"ready": is_ready, "tiers": tiers}, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    refuse_strangers(request)
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def request_id_of(request: Request) -> str:
    """The client's own `x-request-id` where it is a plain one, else a new one."""
    given = request.headers.get("x-request-id", "")
    if REQUEST_ID.fullmatch(given):
        return given
    made: str = request.scope.setdefault("smallfirst.request_id", uuid.uuid4().hex)
    return made


def refuse_strangers(request: Request) -> None:
    """Without keys, this machine alone may ask: a web page whose name was made to lead here may not."""
    settings: Settings = request.app.state.settings
    if settings.server.auth is None and not is_loopback(host_of(request)):
        raise RequestError("host: this gateway is for its own machine: ask it as 127.0.0.1 or localhost", status=403)


def host_of(request: Request) -> str:
    """The name in the Host header, as it stands there: Starlette's URL has the server's own where it is an odd one."""
    host = request.headers.get("host", "")
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


async def read_body(request: Request, server: ServerSettings, *, most: int | None = None) -> bytes:
    """The body of a JSON request, of `most` bytes. Raises RequestError where it is another kind, too large, or too long
    in coming."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError("content-type: send the body as application/json", status=415)
    limit = min(server.max_body_bytes, most or server.max_body_bytes)
    too_large = RequestError(f"the body is larger than {limit} bytes", status=413, code="request_too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > MAX_LENGTH_DIGITS or int(length) > limit):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(server.body_s):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large
    except TimeoutError as late:
        raise RequestError(f"the body did not come within {server.body_s:g} s", status=408) from late
    return bytes(body)


async def refused(request: Request, error: Exception) -> JSONResponse:
    """A client's own mistake."""
    return problem_reply(request, error.problem if isinstance(error, RequestError) else INTERNAL)


async def not_answered(request: Request, error: Exception) -> JSONResponse:
    """A model that failed outside of a cascade."""
    return problem_reply(request, problem_of(error) if isinstance(error, ModelError) else INTERNAL)


async def not_available(request: Request, error: Exception) -> JSONResponse:
    """The store cannot do it now."""
    return problem_reply(request, error.problem if isinstance(error, Unavailable) else INTERNAL)


async def not_routed(request: Request, error: Exception) -> JSONResponse:
    """An unknown path or method, in OpenAI's shape."""
    if not isinstance(error, HTTPException):
        return problem_reply(request, INTERNAL)
    reply = problem_reply(request, status_problem(error.status_code))
    reply.headers.update(error.headers or {})
    return reply


async def failed(request: Request, _error: Exception) -> JSONResponse:
    """A mistake of ours: the log has the cause."""
    return problem_reply(request, INTERNAL)


async def nobody_there(_request: Request, _error: Exception) -> Response:
    """The client left while it was still sending; nobody reads this."""
    return Response(status_code=400)


def problem_reply(request: Request, problem: Problem) -> JSONResponse:
    """An error as the answer to a request that got no further than the door; counted and logged as such."""
    request_id = request_id_of(request)
    metrics: Metrics = request.app.state.metrics
    metrics.refused(problem.status)
    field = (problem.param or "").partition(".")[0]  # deeper names are the client's own words
    log.info("refused", request_id=request_id, status=problem.status, field=field, code=problem.code)
    path = f"{request.url.path}/"
    error_body = next((door.error_body for door in DOORS if path.startswith(f"{door.path}/")), openai_error)
    body = error_body(replace(problem, request_id=request_id))
    return JSONResponse(body, problem.status, {**problem.headers, **id_headers(request_id)})
