"""What a client reads of a text completion's choices: the model's own words, less what it did not ask for."""

from collections.abc import Mapping

from models.prompt import Prompt
from models.wire import WireChoice, WireLogprobs
from server.doors.chat_answer import with_evidence


def shown_text(choice: WireChoice, prompt: Prompt) -> dict[str, object]:
    """A choice with the evidence that the client asked for, and no other."""
    shown = with_evidence(choice, prompt, text_logprobs)
    if not prompt.wants_token_ids:
        shown.pop("prompt_token_ids", None)
    return shown


def text_logprobs(logprobs: WireLogprobs, most: int) -> dict[str, object]:
    """With as many alternatives a token as were asked for."""
    return {**logprobs, "top_logprobs": as_asked(logprobs, most)}


def as_asked(logprobs: WireLogprobs, most: int) -> list[dict[str, float] | None] | None:
    """Each token's alternatives, where there are any: not more than were asked for."""
    alternatives = logprobs.get("top_logprobs")
    if alternatives is None:
        return None
    sampled = logprobs.get("tokens") or []
    return [others and likeliest(others, most, name) for others, name in zip(alternatives, sampled, strict=False)]


def likeliest(alternatives: Mapping[str, float], most: int, sampled: str) -> dict[str, float]:
    """The `most` likeliest and the sampled token, in the order they came in: so there is one more where that is none of
    them, as in OpenAI's API."""
    kept = sorted(alternatives, key=lambda name: float(alternatives[name]), reverse=True)[:most]
    return {name: logprob for name, logprob in alternatives.items() if name == sampled or name in kept}
