"""The gate's map, fitted to recorded drafts."""

import math

from models.tokens import Token, Tokens
from router.lab.gate_fitting import Seen, fit_gate, points_at
from router.scorers import SCORERS

MEAN, LEAST = SCORERS["mean-logprob"], SCORERS["min-logprob"]


def seen(*ps: float, accepted: bool, times: int = 1) -> list[Seen]:
    """Drafts of tokens of these probabilities."""
    return [Seen(Tokens.of(Token("x", math.log(p)) for p in ps), accepted)] * times


def test_a_size_that_too_few_drafts_reach_or_that_all_survive_has_no_curve() -> None:
    drafts = seen(0.9, 0.9, 0.9, accepted=True, times=60) + seen(0.6, 0.6, 0.6, accepted=False, times=60)
    longer = seen(*[0.9] * 6, accepted=True, times=70) + seen(*[0.9] * 10, accepted=False, times=10)

    gate = fit_gate(drafts + longer, MEAN, 0.5, (2, 4, 8))

    assert gate is not None
    assert sorted(gate.curves) == [2, 4]
    assert gate.sizes_from(3) == (4,)
    assert gate.curves[2].probability(0.9) > gate.curves[2].probability(0.6)
    assert len(points_at(drafts + longer, MEAN, 0.5, 2)[1]) == 200


def test_what_is_lost_for_sure_is_not_fitted() -> None:
    drafts = seen(0.9, 0.9, accepted=True, times=60) + seen(0.2, 0.9, accepted=False, times=60)

    assert fit_gate(drafts, LEAST, 0.5, (1,)) is None
