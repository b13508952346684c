"""How one request is routed: the body's object `smallfirst` and the header that stands for its mode."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from router.events import Mode
from router.gate import OnDoubt
from server.doors.reading import Closed
from server.errors import RequestError
from server.headers import PREFIX
from server.wording import plain

OURS = "smallfirst"
MODE_HEADER = PREFIX + "mode"


class StreamControls(Closed):
    """How this one request's stream opens; what is not said is the cascade's."""

    on_doubt: OnDoubt | None = None
    gate_tokens: Annotated[int, Field(ge=1)] | None = None
    holdback_tokens: Annotated[int, Field(ge=0)] | None = None


class Controls(Closed):
    """The body's object `smallfirst`: how this one request is routed. Never sent upstream."""

    mode: Mode | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: StreamControls | None = None
    task: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @property
    def decides(self) -> bool:
        """Whether the request wants to be judged otherwise than its cascade does."""
        return self.mode is not None or self.threshold is not None or self.stream is not None


def with_mode(controls: Controls | None, headers: Mapping[str, str]) -> Controls:
    """The controls, in the mode that the request's header names, if it names one. Raises RequestError."""
    controls = controls or Controls()
    mode = headers.get(MODE_HEADER)
    if mode is None:
        return controls
    try:
        return Controls.model_validate({**controls.model_dump(exclude_none=True), "mode": mode})
    except ValidationError as invalid:
        message = plain(invalid.errors(include_url=False)[0]["msg"])
        raise RequestError(f"{MODE_HEADER}: {message}", param=MODE_HEADER) from invalid
