"""What an answer took: the tokens that the client got, and beside them what the request cost."""

from collections.abc import Mapping

from models.answer import Finish, Speculation, Usage
from models.prompt import Prompt
from models.wire import Json, JsonObject, WireUsage
from router.outcome import Outcome

CACHE_WRITES = ("cache_write_tokens", "created_cache_tokens")  # OpenAI's name, and vLLM's


def usage_of(finish: Finish, outcome: Outcome, prompt: Prompt) -> dict[str, object]:
    """The tokens of the answer, as its server reported them where it did, and what the request cost beside them."""
    usage = {**answered(outcome.answered[outcome.tier], finish.reported, outcome), "smallfirst": bill(outcome)}
    if prompt.predicted is not None and finish.handed and finish.speculation is not None:
        details: object = (finish.reported or {}).get("completion_tokens_details")
        kept = details if isinstance(details, dict) else {}
        usage["completion_tokens_details"] = {**kept, **of_prediction(finish.speculation)}
    return usage


def answered(usage: Usage, reported: WireUsage | None, outcome: Outcome) -> dict[str, object]:
    """The tokens of the answer as the client got it, whoever wrote its beginning; and what its server says of them."""
    counted = outcome.alone(usage)
    return {
        **(reported or {}),
        "prompt_tokens": counted.prompt_tokens,
        "completion_tokens": counted.completion_tokens,
        "total_tokens": counted.prompt_tokens + counted.completion_tokens,
    }


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
        **({"decision": decision(outcome)} if outcome.opened else {}),
        "tiers": tiers,
        "cost": rounded(outcome.cost),
        "cost_final_alone": rounded(outcome.cost_final_alone),
        "cost_final_alone_estimated": outcome.estimates_final,
    }
    return costs if outcome.speculation is None else {**costs, "speculation": verified(outcome.speculation)}


def decision(outcome: Outcome) -> JsonObject:
    """What the headers say of a decision, for a stream whose headers went out before it was made."""
    made: JsonObject = {"tier": outcome.tier, "escalated": outcome.escalated, "reason": outcome.reason}
    if outcome.confidence is None:
        return made
    confidence_of = outcome.cascade.policy.scorer.confidence_of
    return {**made, "confidence": round(outcome.confidence, 6), "confidence_of": confidence_of}


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


def counted_in(usage: Mapping[str, object], group: str, *names: str) -> int:
    """A count among the details of a server's report, by the first of these names that it has; 0 where it says nothing
    that is one."""
    details = usage.get(group)
    counts = [details.get(name) for name in names] if isinstance(details, dict) else []
    return next((max(0, count) for count in counts if isinstance(count, int)), 0)
