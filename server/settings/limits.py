"""How much callers may take, and how many requests a cascade bears."""

from typing import Annotated

from pydantic import Field

from server.access.caller import Allowance
from server.settings.section import Money, Seconds, Section

Whole = Annotated[int, Field(ge=0, le=2**53)]


class AllowanceSettings(Section):
    """What each caller may take that has no limit of its own; null: as much as it wants."""

    requests_per_minute: Whole | None = None
    tokens_per_minute: Whole | None = None
    streams_at_once: Whole | None = None
    cost_per_day: Money | None = None
    cost_per_month: Money | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0

    @property
    def allowance(self) -> Allowance:
        """As callers have it."""
        return Allowance(**self.model_dump())


class LimitsSettings(Section):
    """Limits of callers."""

    default: AllowanceSettings = AllowanceSettings()
    unstated_tokens: Annotated[int, Field(ge=1, le=2**31)] = 1024


class QueueSettings(Section):
    """How many requests of a cascade are under way at once, and how many may wait for that; no limit where there is
    no `at_once`."""

    at_once: Annotated[int, Field(ge=1)] | None = None
    waiting: Annotated[int, Field(ge=0, le=100_000)] = 100
    wait_s: Seconds = 30.0
