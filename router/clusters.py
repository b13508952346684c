"""Which kind of request a request is, by its words: a frozen function in the artefact, for requests that name no task.
Pure, without numpy, so that the way of a request may ask it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter, mul
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.words import Unit, Whole, prompt_shares

MOST_CLUSTERS = 32
READ = 4_000  # characters: with 14 clusters 0.2 ms for a prompt of 600, and 3 ms at most

Weights = Annotated[tuple[Whole, ...], Field(min_length=1)]


class Centroids(BaseModel):
    """The mean of each cluster's prompts, as hashed words and pairs of words weighed by how rare they are. A prompt is
    of the cluster whose centroid is most like it, by the cosine of the angle between them; of none where that is below
    `floor`.

    `rarity` has a weight for each bucket, in a unit that does not matter; a centroid has as many, in `unit`s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["centroids"] = "centroids"
    floor: Annotated[float, Field(ge=0, le=1)]
    unit: Unit
    rarity: Weights
    centroids: Annotated[Mapping[str, Weights], Field(min_length=1, max_length=MOST_CLUSTERS)]

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if any(len(centroid) != len(self.rarity) for centroid in self.centroids.values()):
            raise ValueError("centroids: each has as many weights as `rarity`")
        return self

    def cluster(self, prompt: str) -> str | None:
        """The prompt's cluster; None where it is of no known one, as without any words it is. Of two that are equally
        like it, the one that is named first."""
        likeness = self.likeness(prompt)
        nearest = max(likeness, key=likeness.__getitem__)
        return nearest if likeness[nearest] > 0 and likeness[nearest] >= self.floor else None

    def likeness(self, prompt: str) -> Mapping[str, float]:
        """By cluster, the cosine of the angle between the prompt and the centroid, in [0, 1] up to rounding (*nearest
        centroid*, Rocchio 1971). Of a prompt of more than 4,000 characters the end counts."""
        shares = prompt_shares(prompt[-READ:], len(self.rarity))
        if not shares:
            return dict.fromkeys(self.centroids, 0.0)
        of_prompt = weights_at(shares)
        weighed = tuple(map(mul, shares.values(), of_prompt(self.rarity)))
        scale = self.unit / (math.sqrt(sum(map(mul, weighed, weighed))) or math.inf)
        return {name: scale * sum(map(mul, weighed, of_prompt(one))) for name, one in self.centroids.items()}


def weights_at(buckets: Iterable[int]) -> Callable[[Sequence[int]], Sequence[int]]:
    """What reads the weights in these buckets, in their order: most of what the function costs."""
    first, *others = buckets
    return itemgetter(first, *others) if others else lambda weights: (weights[first],)
