"""OpenTelemetry's spans of one request: itself, its wait, each call to a tier, each decision, each audit.

Names are those of the semantic conventions for HTTP and for generative AI; what these have no word for begins with
`smallfirst.`. The calls' spans are current while their requests go out, so that the tiers' servers see their parents.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from models.errors import ModelError
from router.audits import AuditResult
from router.events import Accepted, Asked, Began, Called, Escalated, Event, Planned, Scored, Verdict
from router.outcome import Outcome
from server.errors import Problem

OURS = "smallfirst."
CUT_OFF = "cancelled"
ERROR = Status(StatusCode.ERROR)
FIRST_ERROR_STATUS = 400
WRITING = ("chat", "text_completion")  # operations whose tokens are written, too
NO_CHATS = {
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/messages/count_tokens": "tokenize",
    "/v1/rerank": "rerank",
    "/v1/score": "score",
    "/tokenize": "tokenize",
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a tier's calls are known by: the model's own name, and who serves it."""

    model: str
    provider: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where spans of a request come from: who makes them, what the tiers are known by, and what tiers are asked to do
    for this path (`gen_ai.operation.name`)."""

    tracer: Tracer
    upstreams: Mapping[str, Upstream]
    operation: str


@dataclass(frozen=True, slots=True)
class Open:
    """A call under way, what it asks for (`gen_ai.operation.name`), and the context to go back to."""

    span: Span
    operation: str
    before: Token[Context]


class Calls:
    """The calls to tiers below one span; each belongs to the task that makes it."""

    def __init__(self, origin: Origin, parent: Context) -> None:
        self._origin = origin
        self._parent = parent
        self._open: dict[asyncio.Task[object] | None, Open] = {}

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Asked():
                self._asked(event)
            case Began(waited_s=waited_s):
                if call := self._open.get(asyncio.current_task()):
                    call.span.add_event("first_piece", {f"{OURS}waited_s": waited_s})
            case Called():
                self._called(event)
            case _:
                pass

    def end(self) -> None:
        """Whatever is still open is over."""
        for call in self._open.values():
            call.span.end()

    def _asked(self, asked: Asked) -> None:
        origin, upstream = self._origin, self._origin.upstreams[asked.tier]
        operation = "embeddings" if asked.about == "foresight" else origin.operation
        span = origin.tracer.start_span(
            f"{operation} {upstream.model}",
            self._parent,
            SpanKind.CLIENT,
            {
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": upstream.provider,
                "gen_ai.request.model": upstream.model,
                f"{OURS}tier": asked.tier,
                f"{OURS}about": asked.about,
            },
        )
        before = context.attach(trace.set_span_in_context(span))
        self._open[asyncio.current_task()] = Open(span, operation, before)

    def _called(self, called: Called) -> None:
        task = asyncio.current_task()
        call = self._open.pop(task, None)
        if call is None:
            return
        context.detach(call.before)
        usage, writes = called.usage, call.operation in WRITING
        if usage.prompt_tokens or usage.completion_tokens:
            call.span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
            if writes:
                call.span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens)
        if writes and called.about == "answer":
            call.span.set_attribute(f"{OURS}handed_over", called.handed)
        failure = called.failure or (CUT_OFF if task is not None and task.cancelling() else None)
        if failure is not None:
            call.span.set_attribute("error.type", failure)
            call.span.set_status(ERROR)
        call.span.end()


@dataclass(frozen=True, slots=True)
class Posted:
    """An HTTP request to a tier's server; `headers` tell the server its parent."""

    span: Span
    headers: Mapping[str, str]

    def answered(self, status: int) -> None:
        """The reply has begun; by the conventions 4xx is an error, too, for who asked."""
        self.span.set_attribute("http.response.status_code", status)
        if status >= FIRST_ERROR_STATUS:
            self._is_error(str(status))

    def failed(self, failed: BaseException) -> None:
        """No reply came, or nobody waits for it any more."""
        self._is_error(failed.reason if isinstance(failed, ModelError) else cut_off_by(failed))

    def _is_error(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(ERROR)


class AuditSpan:
    """Follows one audit: a part of its request's trace, though that is over."""

    def __init__(self, origin: Origin, parent: Context) -> None:
        self._span = origin.tracer.start_span("audit", parent)
        self._calls = Calls(origin, trace.set_span_in_context(self._span))

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        self._calls.observe(event)

    def ended(self, result: AuditResult | None) -> None:
        """It is over."""
        self._calls.end()
        if result is not None:
            self._span.set_attribute(f"{OURS}result", result)
        if result in (None, "failed"):
            self._span.set_attribute("error.type", result or CUT_OFF)
            self._span.set_status(ERROR)
        self._span.end()


class RequestTrace:
    """Follows one request, from its arrival."""

    def __init__(self, origin: Origin, root: Span) -> None:
        self._origin = origin
        self._root = root
        self._parent = trace.set_span_in_context(root)
        self._calls = Calls(origin, self._parent)
        self._threshold: float | None = None
        self._confidence: float | None = None
        self._problem: Problem | None = None
        self._is_cut_off = False

    def permitted(self, model: str) -> None:
        """It has passed its door."""
        self._root.set_attribute("gen_ai.request.model", model)
        self._root.add_event("permitted")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """It waits for its turn."""
        span = self._origin.tracer.start_span("wait", self._parent)
        try:
            yield
        finally:
            span.end()

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Planned(threshold=threshold):
                self._threshold = threshold
            case Scored(confidence=confidence):
                self._confidence = confidence
            case Verdict(probability=probability):
                self._root.add_event("verdict", {f"{OURS}probability": probability})
            case Accepted(tier=tier, reason=reason):
                self._decided(tier, "accept", reason)
            case Escalated(tier=tier, reason=reason):
                self._decided(tier, "escalate", reason)
            case _:
                self._calls.observe(event)

    def failed(self, problem: Problem) -> None:
        """An error is its answer, or the end of it."""
        self._problem = problem
        self._root.set_attribute(f"{OURS}code", code_of(problem))

    def ended(self, outcome: Outcome, *, is_cut_off: bool, response_id: str) -> None:
        """A cascade has done with it."""
        self._is_cut_off = is_cut_off
        self._root.set_attributes({
            "gen_ai.response.id": response_id,
            f"{OURS}tier": outcome.tier,
            f"{OURS}escalated": outcome.escalated,
            f"{OURS}reason": outcome.reason,
            f"{OURS}cost": outcome.cost,
        })  # fmt: skip

    def audit(self) -> AuditSpan:
        """An audit of its answer begins."""
        return AuditSpan(self._origin, self._parent)

    def over(self, status: int | None) -> None:
        """Its last byte is sent. A client's own mistake is no error of the server's, by the conventions."""
        self._calls.end()
        if status is not None:
            self._root.set_attribute("http.response.status_code", status)
        if self._problem is not None and self._problem.status >= 500:
            self._root.set_attribute("error.type", code_of(self._problem))
            self._root.set_status(ERROR)
        elif status is None or self._is_cut_off:
            self._root.set_attribute("error.type", CUT_OFF)
        self._root.end()

    def _decided(self, tier: str, decision: str, reason: str) -> None:
        now_ns = time.time_ns()
        known = {f"{OURS}confidence": self._confidence, f"{OURS}threshold": self._threshold}
        span = self._origin.tracer.start_span(
            "decide",
            self._parent,
            attributes={
                f"{OURS}tier": tier,
                f"{OURS}decision": decision,
                f"{OURS}reason": reason,
                **{name: value for name, value in known.items() if value is not None},
            },
            start_time=now_ns,
        )
        span.end(now_ns)
        self._confidence = None


def operation_of(path: str) -> str:
    """What tiers are asked to do for requests to this path, by the conventions' names as far as they have some."""
    return NO_CHATS.get(path, "chat")


def cut_off_by(failed: BaseException) -> str:
    """What ended a call that was no model's failure."""
    return CUT_OFF if isinstance(failed, asyncio.CancelledError) else type(failed).__name__


def code_of(problem: Problem) -> str:
    """The error's `code`, as the client gets it, else its kind."""
    return problem.code or problem.type
