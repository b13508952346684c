"""The gate's fitted map: how likely the whole of a draft will be accepted, from its first tokens. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.calibration import Platt

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Gate(BaseModel):
    """A curve for each number of first tokens that it was fitted for, over the confidence in them; what is predicted is
    whether the whole draft will be accepted at `threshold`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=1)]
    answers: Annotated[int, Field(ge=1)]
    curves: Annotated[Mapping[Tokens, Platt], Field(min_length=1)]

    def sizes_from(self, tokens: int) -> tuple[int, ...]:
        """The fitted numbers of first tokens, from this one on, in order."""
        return tuple(size for size in sorted(self.curves) if size >= tokens)


OnDoubt = Literal["hold", "continue", "finish"]


@dataclass(frozen=True, slots=True)
class StreamRules:
    """When the text of a draft is shown. `hold`: when it is accepted. Else when the gate opens: at `gate_tokens`, or at
    a later size that the gate was fitted for, if P(the whole draft will be accepted) is at least `open_at`; if doubt
    comes later, the final tier goes on after what was shown (`continue`), or the drafter does (`finish`).

    A draft whose P is at most `stop_at` is given up at once, also where the client does not stream; None: never.
    """

    on_doubt: OnDoubt = "hold"
    gate_tokens: int = 24
    holdback_tokens: int = 16
    open_at: float = 0.5
    stop_at: float | None = None
    gate: Gate | None = None


HOLD = StreamRules()
