"""The routes that ask models: the doors, what passes through to one tier, and what is known of past answers."""

import time
from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from models.errors import TimedOut
from router.cascade import Cascade
from server.answering import Answer, Order
from server.arriving import caller_of, read_body, request_id_of
from server.auditing import Ticket
from server.building import Served
from server.cascades import Overseen
from server.doors.chat import CHAT
from server.doors.completion import COMPLETION
from server.doors.door import Arrival, Asked, Door
from server.doors.feedback import MOST_BYTES, read_feedback
from server.doors.messages import MESSAGES
from server.doors.messages_count import counted, read_count
from server.doors.responses import RESPONSES
from server.errors import RequestError
from server.following import Trace, trace_of
from server.headers import id_headers
from server.limits.admission import Admission
from server.limits.demand import passed_most
from server.limits.standing import NOTHING
from server.passing import Errand, Passage, read_passed, tier_of
from server.permitting import passed_on, permitted, refuse_model
from server.recall import heard, recalled
from server.routing import found, routed
from server.settings.schema import Settings
from server.settings.server import ServerSettings
from server.stopping import Deadlines, unless_gone

DOORS = (CHAT, COMPLETION, RESPONSES, MESSAGES)


def answering(door: Door) -> Callable[[Request], Awaitable[Response]]:
    """The route behind a door: a cascade, or a tier, of the name in `model` answers."""

    async def answered(request: Request) -> Response:
        settings: Settings = request.app.state.settings
        caller = await caller_of(request)
        body = await read_body(request, settings.server, caller)
        began_s = time.perf_counter()
        served: Served = request.app.state.served
        arrival = Arrival(request_id_of(request), int(time.time()), request.headers)
        asked = permitted(door.read(body, arrival), caller, served)
        trace = permitted_trace(request, asked.model)
        cascade = routed(asked, served)
        ticket = ticket_of(request, cascade, asked)
        order = Order(cascade, asked, door, settings.server.deadline_s, began_s, caller, ticket, trace)
        admission: Admission = request.app.state.admission
        state = request.app.state
        return await admission.admitted(
            order, lambda begun: Answer(begun, state.metrics, state.deadlines, state.keeping)
        )

    return answered


def permitted_trace(request: Request, model: str) -> Trace | None:
    """Who follows a request that may ask for this model, if somebody does."""
    trace = trace_of(request)
    if trace is not None:
        trace.permitted(model)
    return trace


def ticket_of(request: Request, cascade: Cascade, asked: Asked) -> Ticket | None:
    """The request's part in its cascade's audits; none where it is judged as it wants itself."""
    overseen: dict[str, Overseen] = request.app.state.overseen
    if cascade.name not in overseen or asked.controls.decides or cascade.policy.mode == "exact":
        return None
    return overseen[cascade.name].auditor.ticket(asked.prompt, cascade.policy)


def passing(path: str) -> Callable[[Request], Awaitable[Response]]:
    """The route to a tier's own endpoint of that path."""

    async def passed(request: Request) -> Response:
        state = request.app.state
        server: ServerSettings = state.settings.server
        served: Served = state.served
        admission: Admission = state.admission
        caller = await caller_of(request)
        body = await read_body(request, server, caller)
        asked, fields = read_passed(body)
        refuse_model(caller, asked, served)
        tier = tier_of(found(asked, served), path)
        pool = served.pools[tier.name]
        fields = passed_on(fields, caller, extras=pool.speaks_vllm)
        trace = permitted_trace(request, asked)
        hold = await admission.reserved(caller, lambda _unstated: passed_most(fields, tier))
        errand = Errand(path, fields, asked, tier, pool, request_id_of(request), server.deadline_s, caller, hold, trace)
        return Passage(errand, state.metrics, state.deadlines, state.keeping)

    return passed


async def count_tokens(request: Request) -> JSONResponse:
    """How many tokens a conversation is to the first tier that can tell."""
    settings: Settings = request.app.state.settings
    served: Served = request.app.state.served
    admission: Admission = request.app.state.admission
    deadlines: Deadlines = request.app.state.deadlines
    caller = await caller_of(request)
    request_id = request_id_of(request)
    model, fields = read_count(await read_body(request, settings.server, caller))
    refuse_model(caller, model, served)
    fields = passed_on(fields, caller, extras=False)
    trace = permitted_trace(request, model)
    tiers = found(model, served).tiers
    hold = await admission.reserved(caller, lambda _unstated: NOTHING)
    work = counted(fields, {tier.name: served.pools[tier.name] for tier in tiers}, request_id, trace)
    try:
        with deadlines.within(settings.server.deadline_s):
            tokens = await unless_gone(work, request.scope, request.receive)
    except TimeoutError as late:
        raise TimedOut("no tier counted within the gateway's deadline") from late
    finally:
        hold.end(NOTHING)
    if tokens is None:
        raise ClientDisconnect
    return JSONResponse({"input_tokens": tokens}, headers={**id_headers(request_id), **hold.headers})


async def not_stored(request: Request, response_id: str) -> Response:
    """There is no response to be had by its id, for whoever may ask. Raises RequestError."""
    await caller_of(request)
    raise RequestError(
        f"response_id: there is no response {response_id!r} here: nothing is stored", param="response_id", status=404
    )


async def get_decision(request: Request, decision_id: str) -> Response:
    """Why a request went where it went, and what it cost."""
    return await recalled(request.app.state.keeping, decision_id, await caller_of(request))


async def take_feedback(request: Request) -> JSONResponse:
    """What somebody thinks of an answer."""
    server: ServerSettings = request.app.state.settings.server
    caller = await caller_of(request)
    body = await read_body(request, server, caller, most=MOST_BYTES)
    return await heard(request.app.state.keeping, read_feedback(body), caller)
