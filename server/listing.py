"""What the gateway says of itself: its models, pools and cascades, whether it is well, and its metrics."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from models.wire import JsonObject
from server.arriving import caller_of
from server.building import Served
from server.cascades import Overseen, cascade_card
from server.openapi import described
from server.pools import pool_card
from server.readiness import Leaving, Readiness
from server.routing import unknown_model


async def list_models(request: Request) -> JSONResponse:
    """Cascades first, then tiers."""
    await caller_of(request)
    return JSONResponse({"object": "list", "data": model_cards(request)})


async def get_model(request: Request, model: str) -> JSONResponse:
    """One of them."""
    await caller_of(request)
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
        **{name: {"kind": "tier", "takes_choices": tier.final.takes_choices} for name, tier in served.tiers.items()},
    }  # fmt: skip
    created = request.app.state.started_s
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "smallfirst", "smallfirst": kind}
        for name, kind in kinds.items()
    ]


async def list_pools(request: Request) -> JSONResponse:
    """Each tier's servers: what they can do, how busy they are, and whether they are asked."""
    await caller_of(request)
    served: Served = request.app.state.served
    return JSONResponse({"object": "list", "data": [pool_card(name, pool) for name, pool in served.pools.items()]})


async def list_cascades(request: Request) -> JSONResponse:
    """Where each cascade stands: its threshold, budget, audits and certificate."""
    await caller_of(request)
    overseen: dict[str, Overseen] = request.app.state.overseen
    return JSONResponse({"object": "list", "data": [cascade_card(one) for one in overseen.values()]})


async def document(request: Request) -> JSONResponse:
    """What can be asked of the gateway, by OpenAPI."""
    await caller_of(request)
    app: FastAPI = request.app
    served: Served = app.state.served
    return JSONResponse(described(app.routes, version=app.version, names=[*served.cascades, *served.tiers]))


async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """200 when every cascade's final tier answers and the gateway is not about to stop, else 503; with each tier's
    state."""
    readiness: Readiness = request.app.state.readiness
    leaving: Leaving = request.app.state.leaving
    up = await readiness.tiers()
    is_ready = readiness.can_answer(up) and not leaving.begun
    tiers = {name: "up" if is_up else "down" for name, is_up in up.items()}
    return JSONResponse({"ready": is_ready, "leaving": leaving.begun, "tiers": tiers}, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    await caller_of(request)
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
