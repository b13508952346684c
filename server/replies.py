"""What a client reads: the model's replies and chunks with our id, model and usage, less what it did not ask for."""

from dataclasses import dataclass

import orjson

from models.answer import Delta, Finish, Speculation, Usage
from models.errors import BadReply
from models.prompt import Prompt
from models.wire import Json, JsonObject, WireChoice, WireReply
from router.outcome import Outcome

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is the same in every piece of one answer."""

    id: str
    created: int
    model: str
    prompt: Prompt

    def whole(self, delta: Delta, finish: Finish, outcome: Outcome) -> bytes:
        """A chat completion."""
        return orjson.dumps(
            {
                **self._reply(delta.reply),
                "usage": usage_of(finish, outcome, self.prompt),
            }
        )

    def chunk(self, delta: Delta) -> bytes:
        """One event of a stream; the usage has an event of its own, at the end."""
        reply = self._reply(delta.reply)
        if not self.prompt.wants_usage:
            reply.pop("usage", None)
        return event(reply)

    def usage_chunk(self, finish: Finish, outcome: Outcome) -> bytes:
        """The event before the last, for a client that asked for it."""
        return event(
            {
                **(finish.chunk or {}),
                "id": self.id,
                "object": "chat.completion.chunk",
                "created": self.created,
                "model": self.model,
                "choices": [],
                "usage": usage_of(finish, outcome, self.prompt),
            }
        )

    def _reply(self, reply: WireReply) -> dict[str, object]:
        choices = [self._choice(choice) for choice in reply["choices"]]
        shown: dict[str, object] = {
            **reply, "id": self.id, "created": self.created, "model": self.model, "choices": choices,
        }  # fmt: skip
        if not self.prompt.wants_token_ids:
            shown.pop("prompt_token_ids", None)
        return shown

    def _choice(self, choice: WireChoice) -> dict[str, object]:
        shown: dict[str, object] = {**choice}
        if not self.prompt.wants_token_ids:
            shown.pop("token_ids", None)
        if not self.prompt.wants_logprobs:
            shown["logprobs"] = None
        elif logprobs := choice.get("logprobs"):
            asked = self.prompt.top_logprobs
            tokens = [{**token, "top_logprobs": (token.get("top_logprobs") or [])[:asked]}
                      for token in logprobs.get("content") or ()]  # fmt: skip
            shown["logprobs"] = {**logprobs, "content": tokens}
        return shown


def written(data: object) -> bytes:
    """JSON. Raises BadReply where a model's reply cannot be written again."""
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError as odd:
        raise BadReply("the model's reply is nested too deeply, or holds odd numbers") from odd


def event(data: object) -> bytes:
    """A server-sent event."""
    return b"data: " + written(data) + b"\n\n"


def usage_of(finish: Finish, outcome: Outcome, prompt: Prompt) -> dict[str, object]:
    """The tokens of the answer, as its server reported them where it did, and what the request cost beside them."""
    answered = outcome.spent[outcome.tier].usage
    counted = {
        "prompt_tokens": answered.prompt_tokens,
        "completion_tokens": answered.completion_tokens,
        "total_tokens": answered.prompt_tokens + answered.completion_tokens,
    }
    usage = {**counted, **(finish.reported or {}), "smallfirst": bill(outcome)}
    if prompt.predicted is not None and finish.handed and finish.speculation is not None:
        details = (finish.reported or {}).get("completion_tokens_details")
        usage["completion_tokens_details"] = {**(details or {}), **of_prediction(finish.speculation)}
    return usage


def of_prediction(speculation: Speculation) -> dict[str, object]:
    """What came of the client's `prediction`, by OpenAI's names."""
    return {
        "accepted_prediction_tokens": speculation.accepted,
        "rejected_prediction_tokens": speculation.proposed - speculation.accepted,
    }


def bill(outcome: Outcome) -> JsonObject:
    """`usage.smallfirst`: each tier's tokens and cost, their sum, what the final tier alone would have cost, and what
    came of a draft that the answering engine verified."""
    tiers: dict[str, Json] = {
        name: {**tokens_of(spent.usage), "cost": rounded(spent.cost)} for name, spent in outcome.spent.items()
    }
    costs: JsonObject = {
        "tiers": tiers,
        "cost": rounded(outcome.cost),
        "cost_final_alone": rounded(outcome.cost_final_alone),
        "cost_final_alone_estimated": outcome.estimates_final,
    }
    return costs if outcome.speculation is None else {**costs, "speculation": verified(outcome.speculation)}


def verified(speculation: Speculation) -> JsonObject:
    """Draft tokens that the engine verified, and how many of them it kept, in how many steps."""
    return {
        "proposed_tokens": speculation.proposed,
        "accepted_tokens": speculation.accepted,
        "steps": speculation.steps,
    }


def tokens_of(usage: Usage) -> dict[str, Json]:
    """A call's tokens; `estimated` only where they are."""
    tokens: dict[str, Json] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }
    return {**tokens, "estimated": True} if usage.estimated else tokens


def rounded(money: float) -> float:
    """To a millionth of a millionth: prices are per million tokens."""
    return round(money, 12)
