"""What a worker hands on to the one that comes after it: what its cascades' budgets have learned. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from router.budget import Learned
from router.cascade import Cascade

NOTHING = b""


@dataclass(frozen=True, slots=True)
class Handed:
    """What a cascade's budget has learned; `under` is what it was learned under: of a cascade that is another now, it
    says nothing."""

    under: str
    learned: Learned


HANDED = TypeAdapter(dict[str, Handed])


def handed(cascades: Mapping[str, Cascade], models: Mapping[str, str]) -> bytes:
    """What the cascades have learned, as JSON; `models` are those of the tiers."""
    known = {
        name: Handed(under(cascade, models), budget.learned)
        for name, cascade in cascades.items()
        if (budget := cascade.steering.budget) is not None
    }
    return HANDED.dump_json(known) if known else NOTHING


def take(said: bytes, cascades: Mapping[str, Cascade], models: Mapping[str, str]) -> None:
    """Have cascades that are as they were go on from there."""
    try:
        known = HANDED.validate_json(said) if said else {}
    except ValidationError:  # of an older version, or of a later one
        return
    for name, cascade in cascades.items():
        one, budget = known.get(name), cascade.steering.budget
        if one is not None and budget is not None and one.under == under(cascade, models):
            budget.go_on(one.learned)


def under(cascade: Cascade, models: Mapping[str, str]) -> str:
    """What its budget's numbers depend on: whose confidences they are, how they come about, and what is held."""
    steering, trusted = cascade.steering, cascade.trusted
    held = "escalated" if steering.escalated is not None else "spend"
    target = None if steering.budget is None else steering.budget.target
    tiers = ", ".join(f"{models[tier.name]} at {tier.price.input}/{tier.price.output}" for tier in cascade.tiers)
    scored_by = f"{cascade.policy.scorer.name} of {None if trusted is None else trusted.identity}"
    return f"{held} at {target} over {tiers} by {scored_by}"
