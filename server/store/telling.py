"""A decision as it is told to people: the JSON of GET /v1/decisions/{id}, and back."""

from dataclasses import dataclass, fields

import orjson
from pydantic import TypeAdapter

from server.store.finding import Found
from server.store.records import Audit, Decision, Feedback

DECISION = TypeAdapter(Decision)
FEEDBACK = TypeAdapter(tuple[Feedback, ...])
AUDITS = TypeAdapter(tuple[Audit, ...])


@dataclass(frozen=True, slots=True)
class Alone:
    """What a tier alone would have cost."""

    tier: str
    cost: float
    estimated: bool


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What a request would have cost, had its cascade's first tier been the only one, or its final tier; of the first
    it is known only where it was asked."""

    first: Alone | None
    final: Alone


def otherwise(decision: Decision) -> Otherwise:
    """From what the request's own calls cost."""
    name = decision.tiers[0]
    step = next((step for step in decision.steps if step.tier == name), None)
    first = Alone(name, step.cost, step.estimated) if step else None
    return Otherwise(first, Alone(decision.tiers[-1], decision.cost_final_alone, decision.cost_final_alone_estimated))


def told(found: Found) -> dict[str, object]:
    """As JSON has it."""
    return {
        "object": "decision",
        **{field.name: getattr(found.decision, field.name) for field in fields(Decision)},
        "otherwise": otherwise(found.decision),
        "feedback": found.feedback,
        "audits": found.audits,
    }


def found_in(said: bytes) -> Found:
    """What was told. Raises ValueError where it is none of that."""
    tree = orjson.loads(said)
    if not isinstance(tree, dict):
        raise ValueError("no JSON object")
    feedback, audits = FEEDBACK.validate_python(tree.get("feedback")), AUDITS.validate_python(tree.get("audits"))
    return Found(DECISION.validate_python(tree), feedback, audits)
