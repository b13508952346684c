"""The gateway's HTTP application: its routes, and what lives as long as it. Knows nothing of how a draft is judged."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.middleware.cors import CORSMiddleware

from models.session import Session
from server.access.opening import guarded
from server.admin.app import add_admin_routes
from server.admin.listening import operators_served
from server.auditing import auditing
from server.bodies import Bodies
from server.building import Served, auditor_of, build
from server.cascades import Overseen
from server.doors.messages_count import COUNT_PATH
from server.doors.responses import RESPONSES
from server.endpoints import DOORS, answering, count_tokens, get_decision, not_stored, passing, take_feedback
from server.following import Following
from server.front import Front
from server.handing import NOTHING, take
from server.limits.opening import admitting
from server.listing import document, get_model, health, list_cascades, list_models, list_pools, metrics, ready
from server.metrics import Metrics
from server.openapi import describing
from server.passing import ENDPOINTS
from server.pools import watched
from server.readiness import Leaving, Readiness
from server.refusing import refusing, wordings
from server.settings.schema import Settings
from server.stopping import Deadlines
from server.store.keeper import Keeper
from server.store.memory import MemoryLedger
from server.store.opening import Keeping, opened

if TYPE_CHECKING:
    from server.tracing import Tracing


def create_app(settings: Settings, state: Path | None = None) -> FastAPI:
    """The gateway for these settings; it calls the tiers' `urls`, whoever started the servers there. `state` is the
    folder of what is kept where the settings name none; without either nothing is kept."""
    app = FastAPI(
        title="smallfirst", version=version("smallfirst"), lifespan=lifespan, openapi_url=None, redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # server/tracing.py is ours
    )  # fmt: skip
    app.state.settings = settings
    app.state.state = state
    app.state.metrics = Metrics()
    app.state.leaving = Leaving()
    app.state.deadlines = Deadlines()
    app.state.bodies = Bodies(settings.server.most_bodies_bytes)
    app.state.describe = describing(app)
    app.state.admin_listener = app.state.totals = None
    app.state.handed = NOTHING
    doors = {door.path: answering(door) for door in DOORS}
    passages = {path: passing(path) for path in ENDPOINTS}
    app.add_middleware(Front, endpoints={**doors, **passages}, wordings=wordings())
    if settings.server.cors:
        let_pages_in(app, settings.server.cors)
    if settings.tracing.otlp is not None:
        app.add_middleware(Following, paths={*doors, *passages, COUNT_PATH})
    for path, endpoint in doors.items():
        app.add_api_route(path, endpoint, methods=["POST"], summary="An answer, whole or streamed")
    for method in ("GET", "DELETE"):
        app.add_api_route(RESPONSES.path + "/{response_id}", not_stored, methods=[method])
    app.add_api_route(RESPONSES.path + "/{response_id}/cancel", not_stored, methods=["POST"])
    app.add_api_route(RESPONSES.path + "/{response_id}/input_items", not_stored, methods=["GET"])
    for path, endpoint in passages.items():
        app.add_api_route(path, endpoint, methods=["POST"], summary="Goes to one tier's server as it came")
    app.add_api_route(COUNT_PATH, count_tokens, methods=["POST"])
    app.add_api_route("/v1/decisions/{decision_id}", get_decision, methods=["GET"])
    app.add_api_route("/v1/feedback", take_feedback, methods=["POST"])
    app.add_api_route("/v1/models", list_models, methods=["GET"])
    app.add_api_route("/v1/models/{model}", get_model, methods=["GET"])
    app.add_api_route("/v1/pools", list_pools, methods=["GET"])
    app.add_api_route("/v1/cascades", list_cascades, methods=["GET"])
    for method in ("GET", "HEAD"):
        app.add_api_route("/health", health, methods=[method])
        app.add_api_route("/ready", ready, methods=[method])
    app.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    app.add_api_route("/openapi.json", document, methods=["GET"])
    if settings.server.admin.on_main:
        add_admin_routes(app)
    refusing(app)
    return app


def let_pages_in(app: FastAPI, origins: Sequence[str]) -> None:
    """Let web pages of these origins ask, with a key in a header: no cookies are looked at."""
    app.add_middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=["*"]
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The connections to the servers live as long as the application."""
    settings: Settings = app.state.settings
    async with (
        tracing_of(settings, app.version) as tracing,
        Session(None if tracing is None else tracing.calling) as session,
        opened(settings.store, app.state.state, app.state.metrics.registry) as keeping,
        guarded(settings, app.state.state) as access,
        admitting(settings, app.state.metrics, keeper_in(keeping)) as admission,
    ):
        app.state.tracing = tracing
        app.state.keeping = keeping
        app.state.access, app.state.guard = access, access.guard
        app.state.admission = admission
        app.state.leaving.on_close(admission.close)
        served = app.state.served = build(settings, session)
        take(app.state.handed, served.cascades, settings.models)
        app.state.readiness = Readiness(served)
        app.state.started_s = int(time.time())
        app.state.metrics.watch(served.pools, served.waiting)
        app.state.metrics.expect([*served.cascades.values(), *served.tiers.values()])
        overseen = app.state.overseen = oversee(app, served)
        auditors = [one.auditor for one in overseen.values()]
        at_once = {name: cascade.audits.at_once for name, cascade in settings.cascades.items()}
        async with watched(served.pools), auditing(auditors, at_once), operators_served(app):
            yield


def keeper_in(keeping: Keeping | None) -> Keeper | None:
    """Who keeps what is done here, if anybody does."""
    return None if keeping is None else keeping.keeper


@asynccontextmanager
async def tracing_of(settings: Settings, version: str) -> "AsyncIterator[Tracing | None]":
    """Who traces requests, where that is wanted: it needs the extra `tracing`."""
    if settings.tracing.otlp is None:
        yield None
        return
    from server.tracing import traced

    async with traced(settings, version) as tracing:
        yield tracing


def oversee(app: FastAPI, served: Served) -> dict[str, Overseen]:
    """The cascades by their names, each with its auditor."""
    settings: Settings = app.state.settings
    keeping: Keeping | None = app.state.keeping
    ledger = keeper_in(keeping) or MemoryLedger()
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
            for watch in one.auditor.watches.values():
                watch.remembers()
    metrics.oversee([*overseen.values()])
    return overseen
