"""The score before generation: what escalating at once would gain, from the words of the prompt alone. Pure, without
numpy, so that the way of a request may ask it; off until it has earned its place on an operator's own questions."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from models.forms import Fields, form_of, prompts, texts_of

LONGEST = 10_000
WORD = re.compile(r"\w+")
LARGEST = 32_767

Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]


class PromptGain(BaseModel):
    """A linear map of a prompt's words and pairs of words, hashed into as many buckets as there are weights: the share
    by which the final tier is expected to be right more often than the drafter on prompts like this one.

    A weight is a whole number of `unit`s, which keeps the file small.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["prompt-gain"] = "prompt-gain"
    intercept: Finite
    unit: Annotated[float, Field(gt=0, allow_inf_nan=False)]
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


def prompt_shares(prompt: str, buckets: int) -> Mapping[int, float]:
    """1 + ln(count) of the words and pairs of words in each bucket, scaled to a vector of length 1; empty where there
    is no word. Of a longer prompt, the last 10,000 characters count."""
    words = WORD.findall(prompt[-LONGEST:].lower())
    grams = [*words, *map(" ".join, pairwise(words))]
    counts = Counter(zlib.crc32(gram.encode("utf-8", "replace")) % buckets for gram in grams)
    values = {bucket: 1 + math.log(count) for bucket, count in counts.items()}
    length = math.sqrt(math.fsum(value * value for value in values.values()))
    return {bucket: value / length for bucket, value in values.items()}


class Foresight(Protocol):
    """Tells from a prompt how good a draft will be."""

    def confidence(self, prompt: str) -> float:
        """In [0, 1]; the higher, the better the drafter is expected to do."""
        ...


@dataclass(frozen=True, slots=True)
class Skip:
    """When a drafter is not asked at all: where the confidence before generation is below this. That only escalates
    more, so a certificate is kept."""

    foresight: Foresight
    below: float


def asked_in(request: Fields) -> str:
    """The words of a request that are scored: what the user said, in all turns; of a text completion, its first
    prompt. Of long ones the end, as far as it is read."""
    if form_of(request) == "completion":
        first = next(iter(prompts(request)), None)
        return first if isinstance(first, str) else ""
    messages = request.get("messages")
    turns = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    said = [texts_of(turn.get("content"))[-LONGEST:] for turn in turns if turn.get("role") == "user"]
    return "\n".join(said)[-LONGEST:]
