"""The score before generation: what escalating at once would gain, from the words of the prompt alone. Pure, without
numpy, so that the way of a request may ask it; off until it has earned its place on an operator's own questions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.words import Finite, Unit, Whole, prompt_shares


class PromptGain(BaseModel):
    """A linear map of a prompt's words and pairs of words, hashed into as many buckets as there are weights: the share
    by which the final tier is expected to be right more often than the drafter on prompts like this one.

    A weight is a whole number of `unit`s, which keeps the file small.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["prompt-gain"] = "prompt-gain"
    intercept: Finite
    unit: Unit
    weights: Annotated[tuple[Whole, ...], Field(min_length=1)]

    def gain(self, prompt: str) -> float:
        """In [-1, 1]: P(final tier right) - P(draft right), estimated."""
        shares = prompt_shares(prompt, len(self.weights))
        total = math.fsum(self.weights[bucket] * share for bucket, share in shares.items())
        return min(1.0, max(-1.0, self.intercept + self.unit * total))

    def confidence(self, prompt: str) -> float:
        """(1 - gain) / 2, in [0, 1]: above one half where the drafter is expected to do better than the final tier. A
        fixed map of the score, not a probability."""
        return (1 - self.gain(prompt)) / 2


class EmbeddingGain(BaseModel):
    """The same, as a linear map of a prompt's embedding by a certain model, scaled to length 1; `fingerprint` is that
    of its servers, where they had one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["embedding-gain"] = "embedding-gain"
    model: str
    fingerprint: str | None = None
    intercept: Finite
    weights: Annotated[tuple[Finite, ...], Field(min_length=1)]

    def confidence(self, vector: Sequence[float]) -> float | None:
        """As `PromptGain.confidence`; None of an embedding that has not as many numbers as there are weights."""
        if len(vector) != len(self.weights):
            return None
        gain = self.intercept + math.fsum(map(mul, self.weights, vector))
        return (1 - min(1.0, max(-1.0, gain))) / 2


Foresight = PromptGain | EmbeddingGain


@dataclass(frozen=True, slots=True)
class Skip:
    """When a drafter is not asked at all: where the confidence before generation, in [0, 1], is below this; the higher
    it is, the better the drafter is expected to do. That only escalates more, so a certificate is kept."""

    foresight: Foresight
    below: float
