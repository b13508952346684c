"""How good a draft will be, before it is asked for: from the words of the prompt, or from their embedding by a tier's
servers. Where that cannot be had at once it is done without, and nothing is skipped."""

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from models.answer import Usage
from models.embedding import Embedded
from models.errors import FailureReason, ModelError, TimedOut
from models.prompt import Prompt
from router.call import CHARACTERS_PER_TOKEN, Observe, Tier
from router.events import Asked, Called, Failed
from router.skipping import EmbeddingGain, Foresight, PromptGain
from router.words import asked_in

EMBEDDED_WITHIN_S = 0.25  # what the answer may be held up by


class Embeds(Protocol):
    """Servers that embed texts."""

    async def embed(self, text: str, request_id: str) -> Embedded:
        """The text's embedding. Raises a ModelError."""
        ...

    def is_another(self, fingerprint: str | None) -> bool:
        """Whether a server is known to be another than the one with this fingerprint."""
        ...


@dataclass(frozen=True, slots=True)
class Embedder:
    """The tier whose servers are asked for embeddings."""

    tier: Tier
    servers: Embeds


async def foreseen(foresight: Foresight, embedder: Embedder | None, prompt: Prompt, observe: Observe) -> float | None:
    """The confidence before generation, in [0, 1]; None where it cannot be told, or not soon enough."""
    asked = asked_in(prompt.fields)
    match foresight:
        case PromptGain():
            return foresight.confidence(asked)
        case EmbeddingGain():
            if embedder is None or not asked or embedder.servers.is_another(foresight.fingerprint):
                return None
            embedded = await embedding(embedder, asked, prompt.request_id, observe)
            return None if embedded is None else foresight.confidence(embedded.vector)


async def embedding(embedder: Embedder, asked: str, request_id: str, observe: Observe) -> Embedded | None:
    """What the tier makes of the text, if it does so within a quarter of a second. The call is metered: one that is cut
    off as if the server had read the text, one that fails as nothing."""
    observe(Asked(embedder.tier.name, "foresight"))
    failure: FailureReason | None = None
    began_s, usage = time.perf_counter(), Usage(len(asked) // CHARACTERS_PER_TOKEN, 0, estimated=True)
    try:
        async with asyncio.timeout(EMBEDDED_WITHIN_S):
            embedded = await embedder.servers.embed(asked, request_id)
        usage = embedded.usage or usage
        return embedded
    except TimeoutError:
        failure = "timeout"
        observe(Failed(embedder.tier.name, "timeout", "foresight"))
        return None
    except ModelError as error:
        failure, usage = error.reason, usage if isinstance(error, TimedOut) else Usage(0, 0)
        observe(Failed(embedder.tier.name, error.reason, "foresight"))
        return None
    finally:
        waited_s = time.perf_counter() - began_s
        observe(Called(embedder.tier.name, usage, waited_s, about="foresight", failure=failure))
