"""Makes one OpenTelemetry trace for each request, and sends them to a collector. Never a prompt or an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from models.route import Route
from server.settings.schema import Settings
from server.spans import OURS, Origin, Posted, RequestTrace, Upstream, operation_of


class Tracing:
    """Makes traces, and sends them to a collector in the background."""

    def __init__(
        self, exporter: SpanExporter, *, share: float, version: str, upstreams: Mapping[str, Upstream]
    ) -> None:
        resource = Resource.create({SERVICE_NAME: "smallfirst", SERVICE_VERSION: version})
        sending = BatchSpanProcessor(exporter)
        self._provider = TracerProvider(ParentBased(TraceIdRatioBased(share)), resource)
        self._provider.add_span_processor(sending)
        of_calls = TracerProvider(ParentBased(ALWAYS_OFF), resource)  # probes are nobody's request
        of_calls.add_span_processor(sending)
        self._tracer = self._provider.get_tracer("smallfirst", version)
        self._tracer_of_calls = of_calls.get_tracer("smallfirst", version)
        self._upstreams = upstreams

    @contextmanager
    def calling(self, route: Route) -> Iterator[Posted]:
        """The span of an HTTP request to a server, which is told its parent, up to where the reply begins."""
        span = self._tracer_of_calls.start_span(
            route.method,
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": route.method,
                "server.address": route.place.host,
                "server.port": route.place.port,
                "url.full": route.url,
            },
        )
        headers: dict[str, str] = {}
        propagate.inject(headers, trace.set_span_in_context(span))
        posted = Posted(span, headers)
        try:
            yield posted
        except BaseException as failed:
            posted.failed(failed)
            raise
        finally:
            span.end()

    def arrived(self, path: str, request_id: str, headers: Mapping[str, str]) -> RequestTrace:
        """The trace of a request that just came; a part of the client's own where its headers name one."""
        root = self._tracer.start_span(
            f"POST {path}",
            propagate.extract(headers),
            SpanKind.SERVER,
            {
                "http.request.method": "POST",
                "http.route": path,
                "url.path": path,
                f"{OURS}request_id": request_id,
            },
        )
        return RequestTrace(Origin(self._tracer, self._upstreams, operation_of(path)), root)

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
