"""A call to a tier, metered: however it ends, its tokens and the time spent waiting for it are reported."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from models.answer import Delta, Finish, Speculation, Usage, WentOn
from models.errors import FailureReason, ModelError, TimedOut
from models.model import Model
from models.prompt import MODALITIES, Modality, Prompt
from models.wire import Json
from router.events import Asked, Began, Called, Event
from router.money import Price

CHARACTERS_PER_TOKEN = 4

Observe = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a cascade: a model, its name here, what its tokens cost, and what it understands beside text; None
    where that is for its servers to say. `takes_choices`: they can be held to one of some answers, as vLLM's can."""

    name: str
    model: Model
    price: Price
    modalities: frozenset[Modality] | None = None
    takes_choices: bool = True

    def lacks(self, prompt: Prompt) -> Modality | None:
        """What the prompt holds that the model is known not to understand."""
        return None if self.modalities is None else next(iter(sorted(prompt.modalities - self.modalities)), None)


async def metered(tier: Tier, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The tier's deltas and finish, between one `Asked` and one `Called`, also where the call fails or is cut off.
    Raises a ModelError."""
    observe(Asked(tier.name))
    meter = Meter(prompt)
    try:
        async with aclosing(tier.model.generate(prompt)) as answer:
            async for part in answer:
                begins = meter.received(part)
                if begins:
                    observe(Began(tier.name, meter.waited_s))
                yield part
                if isinstance(part, Delta):
                    meter.asked()
    except ModelError as error:
        meter.failed(error)
        raise
    finally:
        observe(
            Called(
                tier.name, meter.usage, meter.waited_s, meter.speculation, meter.handed, meter.went_on,
                failure=meter.failure,
            )
        )  # fmt: skip


class Meter:
    """Adds up one call: seconds between asking for a piece and its arrival, tokens, and verified drafts."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._reported: Usage | None = None
        self.speculation: Speculation | None = None
        self.handed = False
        self.went_on: WentOn | None = None
        self.failure: FailureReason | None = None
        self._prompt_tokens = 0
        self._tokens = 0
        self._characters = 0
        self._begun = False
        self._never_ran = False
        self._waited_s = 0.0
        self._asked_s: float | None = time.perf_counter()

    def asked(self) -> None:
        """The next piece is waited for from now on."""
        self._asked_s = time.perf_counter()

    def received(self, part: Delta | Finish) -> bool:
        """A piece has come; whether it is the first."""
        begins, self._begun = not self._begun, True
        if isinstance(part, Finish):
            self._reported, self.speculation = part.usage, part.speculation
            self.handed = part.handed
            self._asked_s = None
            return False
        if self._asked_s is not None:
            self._waited_s += max(0.0, part.received_s - self._asked_s)
        self._asked_s = None
        self.went_on = self.went_on or part.went_on
        self._prompt_tokens = self._prompt_tokens or len(part.reply.get("prompt_token_ids") or ())
        for piece in part.pieces:
            self._tokens += piece.length
            self._characters += piece.characters
        return begins

    def failed(self, error: ModelError) -> None:
        """The call failed; before its first piece it cost nothing, unless the server was at work until a limit."""
        self.failure = error.reason
        self._never_ran = not self._begun and not isinstance(error, TimedOut)

    @property
    def waited_s(self) -> float:
        """Seconds spent waiting for the tier, up to now where a piece is still awaited."""
        open_s = time.perf_counter() - self._asked_s if self._asked_s is not None else 0.0
        return self._waited_s + open_s

    @property
    def usage(self) -> Usage:
        """As the server reported it; else an estimate from what was seen."""
        if self._reported is not None:
            return self._reported
        if self._never_ran:
            return Usage(0, 0)
        written = self._tokens or self._characters // CHARACTERS_PER_TOKEN
        asked = self._prompt_tokens or characters(self._prompt.input) // CHARACTERS_PER_TOKEN
        return Usage(asked, written, estimated=True)


def characters(value: Json) -> int:
    """The characters of all texts in a JSON value, media aside; a list of token ids has those of as many tokens."""
    match value:
        case str():
            return len(value)
        case [int(), *_]:
            return CHARACTERS_PER_TOKEN * len(value)
        case list():
            return sum(map(characters, value))
        case dict():
            return sum(characters(inner) for name, inner in value.items() if name not in MODALITIES)
        case _:
            return 0
