"""`tracing`: where traces go, and of how many requests."""

from importlib.util import find_spec
from typing import Annotated

from pydantic import Field, field_validator

from server.settings.section import Seconds, Section
from server.settings.tier import refuse_no_address


class TracingSettings(Section):
    """OpenTelemetry's traces; none without a collector's address."""

    otlp: str | None = None
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    timeout_s: Seconds = 5.0

    @field_validator("otlp")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        refuse_no_address(url.rstrip("/"))
        if find_spec("opentelemetry.sdk") is None:
            raise ValueError("needs OpenTelemetry: pip install 'smallfirst[tracing]'")
        return url.rstrip("/")
