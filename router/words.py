"""The words of a request as numbers: hashed words and pairs of words, for whatever judges a prompt before there is an
answer. Pure, without numpy, so that the way of a request may read them."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from models.forms import Fields, form_of, prompts, texts_of

LONGEST = 10_000
WORD = re.compile(r"\w+")
LARGEST = 32_767

Finite = Annotated[float, Field(allow_inf_nan=False)]
Unit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]


def prompt_shares(prompt: str, buckets: int) -> Mapping[int, float]:
    """1 + ln(count) of the words and pairs of words in each bucket, scaled to a vector of length 1; empty where there
    is no word. Of a longer prompt, the last 10,000 characters count."""
    words = WORD.findall(prompt[-LONGEST:].lower())
    grams = [*words, *map(" ".join, pairwise(words))]
    counts = Counter(zlib.crc32(gram.encode("utf-8", "replace")) % buckets for gram in grams)
    values = {bucket: 1 + math.log(count) for bucket, count in counts.items()}
    length = math.sqrt(math.fsum(value * value for value in values.values()))
    return {bucket: value / length for bucket, value in values.items()}


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
