"""Makes one OpenTelemetry trace for each request, and sends them to a collector. Never a prompt or an answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from server.settings.schema import Settings
from server.spans import OURS, Origin, RequestTrace, Upstream, operation_of


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
