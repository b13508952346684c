"""The gate's map: what is fitted is what is there, and what is read is what was written."""

import math
from random import Random

import pytest

from models.answer import Token
from router.gate import Curve, Gate, gate_of, log_odds, sigmoid, written
from router.lab.gate_fitting import Seen, fit_curve, fit_gate, fits_of
from router.policy import Policy
from router.scorers import SCORERS

POLICY = Policy("threshold", SCORERS["mean-logprob"], 0.5, (), "escalate")
FALLS = Policy("threshold", SCORERS["min-logprob"], 0.5, (), "escalate")


def seen(*ps: float, accepted: bool, times: int = 1) -> list[Seen]:
    """Drafts of tokens of these probabilities."""
    return [Seen(tuple(Token("x", math.log(p)) for p in ps), accepted)] * times


def test_a_known_curve_is_found_again() -> None:
    random, true = Random(3), Curve(1.3, -0.4)
    confidences = [random.uniform(0.02, 0.98) for _ in range(20_000)]
    points = [(confidence, random.random() < true.probability(confidence)) for confidence in confidences]

    fitted = fit_curve(points)

    assert (fitted.slope, fitted.intercept) == (pytest.approx(1.3, abs=0.06), pytest.approx(-0.4, abs=0.06))


def test_drafts_that_are_told_apart_for_sure_give_a_steep_curve_and_no_error() -> None:
    fitted = fit_curve([(0.9, True)] * 500 + [(0.1, False)] * 500)

    assert fitted.probability(0.9) > 0.99
    assert fitted.probability(0.1) < 0.01


def test_a_size_that_too_few_drafts_reach_or_that_all_survive_has_no_curve() -> None:
    drafts = seen(0.9, 0.9, 0.9, accepted=True, times=60) + seen(0.6, 0.6, 0.6, accepted=False, times=60)
    longer = seen(*[0.9] * 6, accepted=True, times=70) + seen(*[0.9] * 10, accepted=False, times=10)

    gate = fit_gate(drafts + longer, POLICY, (2, 4, 8), model="m")

    assert sorted(gate.curves) == [2, 4]
    assert gate.curves[2].probability(0.9) > gate.curves[2].probability(0.6)
    assert fits_of(gate, drafts + longer, POLICY, open_at=0.5)[2].drafts == 200


def test_what_is_lost_for_sure_is_not_fitted() -> None:
    drafts = seen(0.9, 0.9, accepted=True, times=60) + seen(0.2, 0.9, accepted=False, times=60)

    assert fit_gate(drafts, FALLS, (1,), model="m").curves == {}


def test_a_gate_is_read_as_it_was_written() -> None:
    gate = Gate("m", "margin", 0.25, 900, {8: Curve(1.5, -2.0), 16: Curve(0.1, 3.0)})

    assert gate_of(written(gate)) == gate
    assert gate.sizes_from(9) == (16,)


@pytest.mark.parametrize(
    "broken",
    [b"", b"[]", b"{}", b'{"kind": "other"}', b'{"kind": "smallfirst-gate-1"}', b"\xff",
     written(Gate("m", "margin", 0.25, 900, {8: Curve(1.5, -2.0)})).replace(b"1.5", b'"steep"'),
     written(Gate("m", "margin", 0.25, 900, {8: Curve(1.5, -2.0)})).replace(b'"8"', b'"-8"'),
     written(Gate("m", "margin", 0.25, 900, {8: Curve(1.5, -2.0)})).replace(b"1.5", b"1e999"),
     written(Gate("m", "margin", 0.25, 900, {8: Curve(1.5, -2.0)})).replace(b"margin", b"vibes")],
)  # fmt: skip
def test_a_file_that_is_no_gate_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="no gate that"):
        gate_of(broken)


def test_log_odds_and_sigmoid_are_each_others_inverse_and_never_overflow() -> None:
    for p in (0.0, 1e-9, 0.3, 0.5, 0.999, 1.0):
        assert sigmoid(log_odds(p)) == pytest.approx(p, abs=2e-6)
    assert (sigmoid(-1e6), sigmoid(1e6)) == (0.0, 1.0)
