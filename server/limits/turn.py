"""An answer that begins when its turn has come. A client that leaves while it waits leaves the queue."""

import time
from collections.abc import Callable
from contextlib import nullcontext

import structlog
from msgspec import structs
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from server.answering import Order
from server.errors import Problem
from server.headers import id_headers
from server.limits.fair import Place
from server.limits.line import Line, Shed, ShedReason
from server.limits.standing import NOTHING
from server.metrics import Metrics
from server.stopping import unless_gone

CODES: dict[ShedReason, str] = {"full": "queue_full", "late": "queue_timeout", "draining": "shutting_down"}
MESSAGES: dict[ShedReason, str] = {
    "full": "the gateway has as many requests waiting as it bears: try again in {} s",
    "late": "the request could not be begun in time: try again in {} s",
    "draining": "the gateway is about to stop: try again, another one may answer",
}

log = structlog.get_logger()


class InTurn(Response):
    """Waits in a line, then answers; one instance for one request."""

    def __init__(
        self, order: Order, place: Place, line: Line, answering: Callable[[Order], Response], metrics: Metrics
    ) -> None:
        super().__init__()
        self._order = order
        self._place = place
        self._line = line
        self._answering = answering
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, answer, and let the next one begin; or send an error."""
        order = self._order
        try:
            waited_s = 0.0 if self._line.begins() else await unless_gone(self._wait(), scope, receive)
        except Shed as shed:
            order.hold.undo()
            await self._sent_away(shed)(scope, receive, send)
            return
        except BaseException:
            order.hold.undo()
            raise
        if waited_s is None:
            order.hold.end(NOTHING)
            return
        began_s = time.perf_counter()
        try:
            answer = self._answering(structs.replace(order, deadline_s=self._left_s(), queued_s=waited_s))
            await answer(scope, receive, send)
        finally:
            self._line.over(time.perf_counter() - began_s)
            order.hold.end(NOTHING)

    async def _wait(self) -> float:
        trace = self._order.trace
        with nullcontext() if trace is None else trace.waiting():
            return await self._line.wait(self._place, self._left_s())

    def _left_s(self) -> float:
        return max(0.0, self._order.deadline_s - (time.perf_counter() - self._order.began_s))

    def _sent_away(self, shed: Shed) -> Response:
        order = self._order
        request_id = order.asked.prompt.request_id
        problem = Problem(
            503, MESSAGES[shed.reason].format(shed.retry_after_s), "overloaded_error", CODES[shed.reason],
            None, shed.retry_after_s, request_id,
        )  # fmt: skip
        self._metrics.refused(problem.status)
        if order.trace is not None:
            order.trace.failed(problem)
        log.info("shed", request_id=request_id, cascade=order.cascade.name, reason=shed.reason)
        headers = {**problem.headers, **id_headers(request_id)}
        return JSONResponse(order.door.error_body(problem), problem.status, headers)
