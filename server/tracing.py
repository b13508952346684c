"""One OpenTelemetry trace for each request: itself, each call to a tier, each decision. Never a prompt or an answer.

Names are those of the semantic conventions for HTTP and for generative AI; what these have no word for begins with
`smallfirst.`. The calls' spans are current while their requests go out, so that the tiers' servers see their parents.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Token
from dataclasses import dataclass

import aiohttp
from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from router.events import Accepted, Asked, Began, Called, Escalated, Event, Planned, Scored, Verdict
from router.outcome import Outcome
from server.doors.door import Arrival
from server.settings.schema import Settings

OURS = "smallfirst."


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a tier's calls are known by: the model's own name, and who serves it."""

    model: str
    provider: str


@dataclass(frozen=True, slots=True)
class Open:
    """A call under way, and the context to go back to."""

    span: Span
    before: Token[Context]


class RequestTrace:
    """Watches one request; made when it has passed its door, and ended once."""

    def __init__(self, tracer: Tracer, root: Span, upstreams: Mapping[str, Upstream]) -> None:
        self._tracer = tracer
        self._root = root
        self._upstreams = upstreams
        self._parent = trace.set_span_in_context(root)
        self._calls: dict[asyncio.Task[object] | None, Open] = {}
        self._threshold: float | None = None
        self._confidence: float | None = None

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Planned(threshold=threshold):
                self._threshold = threshold
            case Asked():
                self._asked(event)
            case Began(waited_s=waited_s):
                self._current.add_event("first_piece", {f"{OURS}waited_s": waited_s})
            case Called():
                self._called(event)
            case Scored(confidence=confidence):
                self._confidence = confidence
            case Verdict(probability=probability):
                self._root.add_event("verdict", {f"{OURS}probability": probability})
            case Accepted(tier=tier, reason=reason):
                self._decided(tier, "accept", reason)
            case Escalated(tier=tier, reason=reason):
                self._decided(tier, "escalate", reason)
            case _:
                pass

    def ended(self, outcome: Outcome, *, status: int, response_id: str) -> None:
        """The request is over."""
        for call in self._calls.values():
            call.span.end()
        self._root.set_attributes({
            "http.response.status_code": status,
            "gen_ai.response.id": response_id,
            f"{OURS}tier": outcome.tier,
            f"{OURS}escalated": outcome.escalated,
            f"{OURS}reason": outcome.reason,
            f"{OURS}cost": outcome.cost,
        })  # fmt: skip
        if status >= 500:
            self._root.set_status(Status(StatusCode.ERROR))
        self._root.end()

    @property
    def _current(self) -> Span:
        call = self._calls.get(asyncio.current_task())
        return self._root if call is None else call.span

    def _asked(self, asked: Asked) -> None:
        upstream = self._upstreams[asked.tier]
        span = self._tracer.start_span(
            f"chat {upstream.model}",
            self._parent,
            SpanKind.CLIENT,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": upstream.provider,
                "gen_ai.request.model": upstream.model,
                f"{OURS}tier": asked.tier,
                f"{OURS}about": asked.about,
            },
        )
        before = context.attach(trace.set_span_in_context(span))
        self._calls[asyncio.current_task()] = Open(span, before)

    def _called(self, called: Called) -> None:
        call = self._calls.pop(asyncio.current_task(), None)
        if call is None:
            return
        context.detach(call.before)
        call.span.set_attributes({
            "gen_ai.usage.input_tokens": called.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": called.usage.completion_tokens,
            f"{OURS}handed_over": called.handed,
        })  # fmt: skip
        if called.failure is not None:
            call.span.set_attribute("error.type", called.failure)
            call.span.set_status(Status(StatusCode.ERROR))
        call.span.end()

    def _decided(self, tier: str, decision: str, reason: str) -> None:
        now_ns = time.time_ns()
        known = {f"{OURS}confidence": self._confidence, f"{OURS}threshold": self._threshold}
        span = self._tracer.start_span(
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


class Tracing:
    """Makes traces, and sends them to a collector in the background."""

    def __init__(
        self, exporter: SpanExporter, *, share: float, version: str, upstreams: Mapping[str, Upstream]
    ) -> None:
        resource = Resource.create({SERVICE_NAME: "smallfirst", SERVICE_VERSION: version})
        sending = BatchSpanProcessor(exporter)
        self._provider = TracerProvider(ParentBased(TraceIdRatioBased(share)), resource)
        self._provider.add_span_processor(sending)
        self._of_calls = TracerProvider(ParentBased(ALWAYS_OFF), resource)  # probes are nobody's request
        self._of_calls.add_span_processor(sending)
        self._tracer = self._provider.get_tracer("smallfirst", version)
        self._upstreams = upstreams

    @property
    def of_calls(self) -> aiohttp.TraceConfig:
        """For the client that calls the tiers: a span for each HTTP request, whose server is told its parent."""
        return create_trace_config(tracer_provider=self._of_calls)

    def request(self, path: str, asked: str, arrival: Arrival) -> RequestTrace:
        """The trace of a request that just came; a part of the client's own where its headers name one."""
        root = self._tracer.start_span(
            f"POST {path}",
            propagate.extract(arrival.headers),
            SpanKind.SERVER,
            {
                "http.request.method": "POST",
                "http.route": path,
                "gen_ai.request.model": asked,
                f"{OURS}request_id": arrival.request_id,
            },
        )
        return RequestTrace(self._tracer, root, self._upstreams)

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        await asyncio.to_thread(self._provider.shutdown)


@asynccontextmanager
async def traced(settings: Settings, version: str) -> AsyncIterator[Tracing]:
    """Traces as the settings want them; `tracing.otlp` is set."""
    wanted = settings.tracing
    exporter = OTLPSpanExporter(f"{wanted.otlp}/v1/traces", timeout=wanted.timeout_s)
    upstreams = {name: Upstream(tier.model, tier.dialect) for name, tier in settings.tiers.items()}
    tracing = Tracing(exporter, share=wanted.share, version=version, upstreams=upstreams)
    try:
        yield tracing
    finally:
        await tracing.close()
