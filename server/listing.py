"""What the gateway says of itself: its models, pools and cascades, whether it is well, and its metrics."""

from collections.abc import Callable
from typing import Protocol

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from models.wire import JsonObject
from server.access.caller import Caller
from server.access.guard import Guard
from server.arriving import caller_of, operator_of
from server.building import Served
from server.cascades import Overseen, cascade_card
from server.errors import Problem
from server.permitting import visible
from server.pools import pool_card
from server.readiness import Leaving, Readiness
from server.recall import Unavailable
from server.routing import unknown_model
from server.workers.totals import Families, registry_of

UNREAD = Problem(
    503, "the workers' metrics cannot be read now: try again", "server_error", "metrics_unreadable", None, 1
)


class Totals(Protocol):
    """Who adds up the metrics of all workers."""

    async def read(self) -> Families:
        """They, as of now. Raises TimeoutError."""
        ...


async def list_models(request: Request) -> JSONResponse:
    """Cascades first, then tiers; those that the caller may ask for."""
    return JSONResponse({"object": "list", "data": model_cards(request, await caller_of(request))})


async def get_model(request: Request, model: str) -> JSONResponse:
    """One of them."""
    caller = await caller_of(request)
    card = next((card for card in model_cards(request, caller) if card["id"] == model), None)
    if card is None:
        raise unknown_model(model, visible(caller, request.app.state.served))
    return JSONResponse(card)


def model_cards(request: Request, caller: Caller) -> list[JsonObject]:
    """What the caller can name as `model`, in OpenAI's shape; `smallfirst` says what each one is."""
    served: Served = request.app.state.served
    kinds: dict[str, JsonObject] = {
        **{name: {"kind": "cascade", "tiers": [tier.name for tier in cascade.tiers]}
           for name, cascade in served.cascades.items()},
        **{name: {"kind": "tier", "takes_choices": tier.final.takes_choices} for name, tier in served.tiers.items()},
    }  # fmt: skip
    created = request.app.state.started_s
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "smallfirst", "smallfirst": kind}
        for name, kind in kinds.items()
        if name in visible(caller, served)
    ]


async def list_pools(request: Request) -> JSONResponse:
    """Each tier's servers: what they can do, how busy they are, and whether they are asked."""
    await operator_of(request)
    served: Served = request.app.state.served
    return JSONResponse({"object": "list", "data": [pool_card(name, pool) for name, pool in served.pools.items()]})


async def list_cascades(request: Request) -> JSONResponse:
    """Where each cascade stands: its threshold, budget, audits and certificate."""
    await operator_of(request)
    overseen: dict[str, Overseen] = request.app.state.overseen
    return JSONResponse({"object": "list", "data": [cascade_card(one) for one in overseen.values()]})


async def document(request: Request) -> Response:
    """What can be asked of the gateway, by OpenAPI."""
    names = visible(await caller_of(request), request.app.state.served)
    describe: Callable[[tuple[str, ...]], bytes] = request.app.state.describe
    return Response(describe(tuple(names)), media_type="application/json")


async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """200 when every cascade's final tier answers, it is known who may ask and the gateway is not about to stop, else
    503; with each tier's state."""
    readiness: Readiness = request.app.state.readiness
    leaving: Leaving = request.app.state.leaving
    up = await readiness.tiers()
    guard: Guard = request.app.state.guard
    is_ready = readiness.can_answer(up) and guard.is_ready and not leaving.begun
    tiers = {name: "up" if is_up else "down" for name, is_up in up.items()}
    keys = {} if guard.is_ready else {"keys": "unreadable"}
    told = {"ready": is_ready, "leaving": leaving.begun, "tiers": tiers, **keys}
    return JSONResponse(told, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    await operator_of(request)
    return await exposition(request)


async def exposition(request: Request) -> Response:
    """All metrics, of all workers. Raises Unavailable."""
    totals: Totals | None = request.app.state.totals
    try:
        registry = request.app.state.metrics.registry if totals is None else registry_of(await totals.read())
    except TimeoutError as late:
        raise Unavailable(UNREAD) from late
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
