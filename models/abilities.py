"""What a server can do and how busy it is, as far as it was found out. Knows nothing of how."""

from dataclasses import dataclass
from typing import Literal

from models.likeness import Look

SpeculationKind = Literal["none", "drafter", "handover"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """None where a server did not say. `adapters` are the served models that are LoRA adapters of another;
    `tokenizer` is a fingerprint: alike for servers that cut a text into the same token ids; so is `fingerprint`, of
    these and the first tokens that the model goes on with after a text: another model, adapter or tokenizer has another
    one, weights that were tuned or quantised a little need not."""

    models: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    version: str | None = None
    context_tokens: int | None = None
    speculation: SpeculationKind | None = None
    logprobs: bool | None = None
    tokenizer: str | None = None
    look: Look | None = None

    @property
    def fingerprint(self) -> str | None:
        """That of its look."""
        return None if self.look is None else self.look.fingerprint

    @property
    def speculates(self) -> bool:
        """Whether the engine is known to verify drafts, its own or ours."""
        return self.speculation in ("drafter", "handover")


@dataclass(frozen=True, slots=True)
class Load:
    """A server's requests, whoever sent them; how full its key-value cache is (0 to 1); whether it was put to sleep:
    then requests hang until it is woken."""

    running: int = 0
    waiting: int = 0
    cache_share: float | None = None
    asleep: bool = False


UNKNOWN = Abilities()
IDLE = Load()
