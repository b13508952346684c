"""From a scorer's confidence to a probability: the fitted maps, as an artefact keeps them. Pure; fitting is the lab's.

Every map takes the scorer's own confidence in [0, 1], never falls as that rises, and gives a probability in [0, 1];
what of is for the artefact to say.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LEAST = 1e-6
Finite = Annotated[float, Field(allow_inf_nan=False)]
Rising = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Platt(BaseModel):
    """1 / (1 + exp(-(slope * log-odds + intercept))), over the log-odds of the confidence (Platt, 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["platt"] = "platt"
    slope: Rising
    intercept: Finite

    def probability(self, confidence: float) -> float:
        """In [0, 1], for a confidence in [0, 1]."""
        return sigmoid(self.slope * log_odds(confidence) + self.intercept)


class Beta(BaseModel):
    """1 / (1 + exp(-(a ln p - b ln(1 - p) + c))) (Kull, Silva Filho and Flach, Beta calibration, AISTATS 2017)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["beta"] = "beta"
    a: Rising
    b: Rising
    c: Finite

    def probability(self, confidence: float) -> float:
        """In [0, 1], for a confidence in [0, 1]."""
        kept = min(max(confidence, LEAST), 1 - LEAST)
        return sigmoid(self.a * math.log(kept) - self.b * math.log1p(-kept) + self.c)


class Isotonic(BaseModel):
    """Straight lines between knots, flat outside of them (Zadrozny and Elkan, KDD 2002)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["isotonic"] = "isotonic"
    knots: Annotated[tuple[Share, ...], Field(min_length=1)]
    values: Annotated[tuple[Share, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.knots) != len(self.values):
            raise ValueError("as many knots as values are wanted")
        if any(high <= low for low, high in pairwise(self.knots)) or falls(self.values):
            raise ValueError("the knots must rise and the values not fall")
        return self

    def probability(self, confidence: float) -> float:
        """In [0, 1], for a confidence in [0, 1]."""
        after = bisect_right(self.knots, confidence)
        if after in (0, len(self.knots)):
            return self.values[max(0, after - 1)]
        left, right = self.knots[after - 1], self.knots[after]
        low, high = self.values[after - 1], self.values[after]
        return low + (high - low) * (confidence - left) / (right - left)


Calibration = Annotated[Platt | Beta | Isotonic, Field(discriminator="kind")]


def falls(values: Sequence[float]) -> bool:
    """Whether some value is below the one before it."""
    return any(high < low for low, high in pairwise(values))


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)), for p kept off 0 and 1 by a millionth."""
    kept = min(max(probability, LEAST), 1 - LEAST)
    return math.log(kept) - math.log1p(-kept)


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), whatever the value."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
