"""What each answer to a recorded question costs: as it was recorded, by prices, or by its length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.lab.measures import Floats
from router.lab.outcomes import P_TRUE, Output, Recorded

MILLION = 1_000_000


class CannotCost(Exception):
    """The questions do not have what the prices are for."""


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """Of a million tokens read, and of a million written."""

    input: float
    output: float


Price = TokenPrice | float


@dataclass(frozen=True, slots=True)
class Costs:
    """What each tier's answers cost, (n,) each and in one unit, and how that was told, in words; and what asking for
    P(True) of each draft did, (n,), where that is known in the same unit."""

    by_tier: Mapping[str, Floats]
    basis: str
    p_true: Floats | None = None


def price_of(written: str) -> Price:
    """`INPUT:OUTPUT` of a million tokens, or one number of each character. Raises ValueError."""
    try:
        parts = [float(part) for part in written.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 2 or not all(np.isfinite(parts)) or min(parts) < 0:
        raise ValueError(f"{written!r} is no price: INPUT:OUTPUT of a million tokens, or one number of a character")
    return parts[0] if len(parts) == 1 else TokenPrice(*parts)


def costs_of(
    questions: Sequence[Recorded], tiers: Sequence[str], prices: Mapping[str, Price], *, ratio: float
) -> Costs:
    """Of these tiers, the drafter first, and the final tier second: by the prices where there are any, else as they
    were recorded where all were, else by the characters of the answer, of which the final tier's cost `ratio` and the
    others' 1. Raises CannotCost."""
    if not np.isfinite(ratio) or ratio < 0:
        raise CannotCost("a ratio of costs is a finite number, at least 0")
    if prices:
        return priced(questions, tiers, prices)
    outputs = [one.outputs[tier] for one in questions for tier in tiers]
    if all(output.cost is not None and output.cost >= 0 for output in outputs):
        by_tier = {tier: np.array([one.outputs[tier].cost for one in questions], dtype=np.float64) for tier in tiers}
        return Costs(by_tier, "as recorded", p_true_costs(questions, tiers[0]))
    by_length = {tier: ratio if tier == tiers[1] else 1.0 for tier in tiers}
    return by_characters(questions, tiers, by_length, f"by characters, of which one of {tiers[1]} costs {ratio:g}")


def p_true_costs(questions: Sequence[Recorded], drafter: str) -> Floats | None:
    """As they were recorded; None where not all were."""
    opinions = [(one.outputs[drafter].opinions or {}).get(P_TRUE) for one in questions]
    known = [one.cost for one in opinions if one is not None and one.cost is not None and one.cost >= 0]
    return np.array(known, dtype=np.float64) if len(known) == len(questions) else None


def priced(questions: Sequence[Recorded], tiers: Sequence[str], prices: Mapping[str, Price]) -> Costs:
    """By the prices. Raises CannotCost."""
    missing = [tier for tier in tiers if tier not in prices]
    if missing or len({type(prices[tier]) for tier in tiers}) > 1:
        raise CannotCost(f"give each of {', '.join(tiers)} a price, all of tokens or all of characters")
    of_tokens = {tier: price for tier, price in prices.items() if isinstance(price, TokenPrice)}
    if not of_tokens:
        by_length = {tier: price for tier, price in prices.items() if not isinstance(price, TokenPrice)}
        return by_characters(questions, tiers, by_length, "by characters, at the prices given")
    by_tier = {
        tier: np.array([of_its_tokens(one, tier, of_tokens[tier]) for one in questions], dtype=np.float64)
        for tier in tiers
    }
    return Costs(by_tier, "by tokens, at the prices given")


def of_its_tokens(question: Recorded, tier: str, price: TokenPrice) -> float:
    """One answer's. Raises CannotCost."""
    output = question.outputs[tier]
    if output.prompt_tokens is None or output.completion_tokens is None:
        raise CannotCost(f"question {question.id!r} has no numbers of tokens of {tier!r}: give prices of characters")
    return (output.prompt_tokens * price.input + output.completion_tokens * price.output) / MILLION


def by_characters(
    questions: Sequence[Recorded], tiers: Sequence[str], prices: Mapping[str, float], basis: str
) -> Costs:
    """At these prices of a character; an answer whose text is not there is as long as the draft, and where that is not
    there either, all are as long as each other."""
    drafter = tiers[0]
    by_tier = {
        tier: prices[tier] * np.array([length_of(one.outputs[tier], one.outputs[drafter]) for one in questions])
        for tier in tiers
    }
    without = [tier for tier in tiers if any(one.outputs[tier].text is None for one in questions)]
    if drafter in without:
        return Costs(by_tier, f"{basis}; where texts were not recorded, answers count as equally long")
    if without:
        return Costs(by_tier, f"{basis}; answers of {' and '.join(without)} without text count as long as the draft")
    return Costs(by_tier, basis)


def length_of(output: Output, draft: Output) -> float:
    """Characters."""
    text = output.text if output.text is not None else draft.text
    return 1.0 if text is None else float(len(text))
