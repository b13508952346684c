"""Every error that gets no further than the door, as the API's own clients read it."""

from collections.abc import Mapping
from dataclasses import replace

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import ModelError
from server.access.refusal import NotAllowed
from server.arriving import request_id_of
from server.endpoints import DOORS
from server.errors import INTERNAL, Problem, RequestError, openai_error, problem_of, status_problem
from server.following import trace_of
from server.front import Wording
from server.headers import id_headers
from server.metrics import Metrics
from server.recall import Unavailable

LONGEST_FIELD = 64

log = structlog.get_logger()


def refusing(app: FastAPI) -> None:
    """Have all that is raised on a request's way worded here."""
    for kind, wording in wordings().items():
        app.add_exception_handler(kind, wording)
    app.add_exception_handler(HTTPException, not_routed)
    app.add_exception_handler(Exception, failed)


def wordings() -> Mapping[type[Exception], Wording]:
    """What a route may raise, and who words it."""
    return {
        RequestError: refused,
        ModelError: not_answered,
        Unavailable: not_available,
        ClientDisconnect: nobody_there,
    }


async def refused(request: Request, error: Exception) -> JSONResponse:
    """A client's own mistake."""
    if isinstance(error, NotAllowed):
        metrics: Metrics = request.app.state.metrics
        metrics.turned_away(error.reason)
        log.info("turned away", request_id=request_id_of(request), reason=error.reason)
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
    trace = trace_of(request)
    if trace is not None:
        trace.failed(problem)
    field = (problem.param or "").partition(".")[0][:LONGEST_FIELD]  # deeper names are the client's own words
    log.info("refused", request_id=request_id, status=problem.status, field=field, code=problem.code)
    path = f"{request.url.path}/"
    error_body = next((door.error_body for door in DOORS if path.startswith(f"{door.path}/")), openai_error)
    body = error_body(replace(problem, request_id=request_id))
    return JSONResponse(body, problem.status, {**problem.headers, **id_headers(request_id)})
