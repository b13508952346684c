"""Who follows a request from its arrival to its last byte, where somebody does. Knows nothing of traces themselves."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.answer import Usage
from models.errors import FailureReason, ModelError
from router.audits import AuditResult
from router.events import Asked, Called, Event
from router.outcome import Outcome
from server.arriving import request_id_of
from server.errors import INTERNAL, Problem

TRACE = "smallfirst.trace"


class AuditTrace(Protocol):
    """Who follows one audit; made when it begins."""

    def observe(self, event: Event) -> None:
        """Something happened."""
        ...

    def ended(self, result: AuditResult | None) -> None:
        """It is over; without a result it was cut off."""
        ...


class Trace(Protocol):
    """Who follows one request, from event to event."""

    def permitted(self, model: str) -> None:
        """It has passed its door, and asks for this cascade or tier."""
        ...

    def waiting(self) -> AbstractContextManager[None]:
        """It waits for its turn, as long as the block runs."""
        ...

    def observe(self, event: Event) -> None:
        """Something happened."""
        ...

    def failed(self, problem: Problem) -> None:
        """An error is its answer, or the end of it."""
        ...

    def ended(self, outcome: Outcome, *, is_cut_off: bool, response_id: str) -> None:
        """A cascade has done with it; cut off: the client did not want to know any more."""
        ...

    def audit(self) -> AuditTrace:
        """An audit of its answer begins; most often later."""
        ...

    def over(self, status: int | None) -> None:
        """Its last byte is sent; None: not even its status was."""
        ...


class Tracing(Protocol):
    """Who makes traces of requests."""

    def arrived(self, path: str, request_id: str, headers: Mapping[str, str]) -> Trace:
        """Of one that just came, of which nothing else is known yet."""
        ...


class Following:
    """An ASGI layer: what is posted to these paths is followed, refused requests too."""

    def __init__(self, app: ASGIApp, paths: Collection[str]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, between a trace's beginning and its end."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        tracing: Tracing = request.app.state.tracing
        trace = scope[TRACE] = tracing.arrived(scope["path"], request_id_of(request), request.headers)
        status: int | None = None

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception:  # the outermost layer answers it
            trace.failed(INTERNAL)
            status = status or INTERNAL.status
            raise
        finally:
            trace.over(status)


def trace_of(request: Request) -> Trace | None:
    """Who follows the request; None where nobody does."""
    trace: Trace | None = request.scope.get(TRACE)
    return trace


class PassedCall:
    """A call that passes through, and what it turns out to take."""

    usage: Usage | None = None


@contextmanager
def passed_call(trace: Trace | None, tier: str) -> Iterator[PassedCall]:
    """A call to a tier that is no part of a cascade, for who follows its request; it ends with the block."""
    call = PassedCall()
    failure: FailureReason | None = None
    if trace is None:
        yield call
        return
    began_s = time.perf_counter()
    trace.observe(Asked(tier))
    try:
        yield call
    except ModelError as error:
        failure = error.reason
        raise
    finally:
        waited_s = time.perf_counter() - began_s
        trace.observe(Called(tier, call.usage or Usage(0, 0), waited_s, failure=failure))
