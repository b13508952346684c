"""Asking a tier's servers for the embedding of a text."""

import math
from dataclasses import dataclass
from typing import TypedDict

import orjson

from models.answer import Usage
from models.errors import BadReply
from models.parsing import NOT_A_REPLY, usage_in_all
from models.pool import Pool
from models.wire import JsonObject, WireUsage

EMBEDDINGS_PATH = "/v1/embeddings"
MOST_DIMENSIONS = 16_384


class WireEmbedding(TypedDict):
    """One text's."""

    embedding: list[float]


class WireEmbeddings(TypedDict, total=False):
    """A reply of `/v1/embeddings`."""

    data: list[WireEmbedding]
    usage: WireUsage | None


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text's embedding, of length 1; and what the server counted, None where it did not."""

    vector: tuple[float, ...]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class PoolEmbedder:
    """The servers of one tier, which embed texts."""

    pool: Pool

    async def embed(self, text: str, request_id: str) -> Embedded:
        """What a server makes of the text; vLLM is told to cut what is too long for it. Raises a ModelError."""
        cut: JsonObject = {"truncate_prompt_tokens": -1} if self.pool.speaks_vllm else {}
        return embedded_in(await self.pool.passed(EMBEDDINGS_PATH, {"input": text, **cut}, request_id))

    def is_another(self, fingerprint: str | None) -> bool:
        """Whether a server is known to be another than the one with this fingerprint."""
        return fingerprint is not None and any(fingerprint not in alike for alike in self.pool.likenesses)


def embedded_in(received: bytes) -> Embedded:
    """The embedding in a reply to a request of one text. Raises BadReply."""
    try:
        reply: WireEmbeddings = orjson.loads(received)
        (one,) = reply["data"]
        vector = [float(value) for value in one["embedding"][:MOST_DIMENSIONS]]
        length = math.sqrt(math.fsum(value * value for value in vector))
        unit = tuple(value / length for value in vector)
        reported = reply.get("usage") or {}
        counted = usage_in_all(reported)
    except NOT_A_REPLY as wrong:
        raise BadReply(f"the server's reply is no embedding ({type(wrong).__name__})") from wrong
    if not math.isfinite(length) or not unit:
        raise BadReply("the server's reply is no embedding (its numbers are not finite)")
    return Embedded(unit, counted)
