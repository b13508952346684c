"""The band of confidences in which the final tier is asked whether a draft is right. Pure."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class Band(BaseModel):
    """Around the threshold: a draft whose confidence is in [low, high) is right or not as the final tier says, whose
    P(right) must be at least `at`. A threshold outside of [low, high], which a request or a budget may bring, decides
    alone; so whatever the final tier says, a higher threshold never accepts a draft that a lower one would not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Share
    high: Share
    at: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.low >= self.high:
            raise ValueError("a band begins below its end")
        return self

    def asks(self, confidence: float, threshold: float) -> bool:
        """Whether the final tier is asked about a draft of this confidence."""
        return self.holds(threshold) and self.low <= confidence < self.high

    def holds(self, threshold: float) -> bool:
        """Whether the band is around this threshold."""
        return self.low <= threshold <= self.high

    def accepts(self, probability: float) -> bool:
        """Whether a draft of this P(right) is good enough."""
        return probability >= self.at

    def may_accept_below(self, threshold: float) -> bool:
        """Whether a draft that this threshold alone would not accept may be accepted."""
        return self.low < threshold <= self.high

    @property
    def told(self) -> str:
        """In words."""
        return f"band {self.low:g} to {self.high:g}, at {self.at:g}"
