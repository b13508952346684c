"""The band in which the final tier decides, and what a certificate says of it."""

import pytest
from fakes.trusting import CHECKS, certificate, fit, trust
from hypothesis import given
from hypothesis import strategies as st

from router.policy import Judgement, Keep, Policy, after_verdict, band_of, scored
from router.scorers import SCORERS
from router.verdict import Band

SHARE = st.floats(0, 1)


def accepts(confidence: float, threshold: float, band: Band | None, probability: float) -> bool:
    """Whether a draft of this confidence is the answer, if the final tier finds it right with this probability."""
    policy = Policy("threshold", SCORERS["margin"], threshold, (), "escalate", verdict=band)
    judgement = scored(confidence, policy)
    asked = band_of(judgement, policy)
    return isinstance(judgement.ruling if asked is None else after_verdict(asked, probability), Keep)


@st.composite
def bands(draw: st.DrawFn) -> Band:
    """Any."""
    low, high = sorted((draw(SHARE), draw(SHARE)))
    return Band(low=low * 0.99, high=min(1.0, high + 0.01), at=draw(st.floats(0.01, 1)))


@pytest.mark.parametrize(
    ("confidence", "asked"), [(0.59, False), (0.6, True), (0.69, True), (0.7, True), (0.79, True), (0.8, False)]
)
def test_the_final_tier_is_asked_within_the_band(confidence: float, asked: bool) -> None:
    assert Band(low=0.6, high=0.8).asks(confidence, 0.7) == asked


@pytest.mark.parametrize(("threshold", "asked"), [(0.59, False), (0.6, True), (0.8, True), (0.81, False), (1.0, False)])
def test_a_threshold_outside_of_the_band_decides_alone(threshold: float, asked: bool) -> None:
    assert Band(low=0.6, high=0.8).asks(0.7, threshold) == asked


@given(bands(), SHARE, SHARE, SHARE, SHARE)
def test_a_higher_threshold_never_accepts_more(
    band: Band, one: float, other: float, confidence: float, probability: float
) -> None:
    lower, higher = sorted((one, other))

    assert accepts(confidence, lower, band, probability) >= accepts(confidence, higher, band, probability)


@given(bands(), SHARE, SHARE, SHARE, SHARE)
def test_a_surer_draft_of_the_same_verdict_is_never_escalated_instead(
    band: Band, threshold: float, one: float, other: float, probability: float
) -> None:
    less, more = sorted((one, other))
    if not band.asks(more, threshold):
        assert accepts(less, threshold, band, probability) <= accepts(more, threshold, band, probability)


@given(bands(), SHARE, SHARE, SHARE)
def test_a_band_above_the_threshold_only_escalates_more(
    band: Band, threshold: float, confidence: float, probability: float
) -> None:
    if not band.may_accept_below(threshold):
        assert accepts(confidence, threshold, band, probability) <= accepts(confidence, threshold, None, probability)


def test_a_draft_without_a_confidence_is_not_asked_about() -> None:
    policy = Policy("threshold", SCORERS["margin"], 0.7, (), "accept", verdict=Band(low=0.0, high=1.0))

    assert band_of(Judgement(Keep("no-evidence")), policy) is None


@pytest.mark.parametrize(("low", "high", "at"), [(0.8, 0.6, 0.5), (0.6, 0.6, 0.5), (0.1, 0.9, 0.0), (-0.1, 0.9, 0.5)])
def test_no_other_band_can_be_written(low: float, high: float, at: float) -> None:
    with pytest.raises(ValueError):
        Band(low=low, high=high, at=at)


AROUND, ABOVE, BELOW = Band(low=0.7, high=0.9), Band(low=0.8, high=0.9), Band(low=0.5, high=0.7)


@pytest.mark.parametrize(
    ("certified_with", "configured", "fits"),
    [
        (None, None, True),
        (AROUND, AROUND, True),
        (None, ABOVE, True),
        (None, BELOW, True),
        (None, AROUND, False),
        (AROUND, None, False),
        (AROUND, ABOVE, False),
        (AROUND, Band(low=0.7, high=0.9, at=0.4), False),
    ],
    ids=["none", "the same", "only asks about what is sure", "decides nothing", "accepts what was not certified",
         "does not ask", "asks about less", "is easier to please"],
)  # fmt: skip
def test_what_accepts_more_than_was_certified_does_not_fit(
    certified_with: Band | None, configured: Band | None, fits: bool
) -> None:
    made = trust(certified=certificate(0.8), verdict=certified_with)

    said = made.misfits(["scripted", "scripted"], CHECKS, "escalate", verdict=configured)

    assert (said == ()) == fits
    assert not said or "it was certified with" in said[0]


def test_the_band_of_a_certified_cluster_counts_too() -> None:
    made = trust(certified=certificate(0.8), clusters={"sums": fit(certified=certificate(0.85))})

    assert made.misfits(["scripted", "scripted"], CHECKS, "escalate", verdict=ABOVE)
    assert not trust(clusters={"sums": fit()}).misfits(["scripted", "scripted"], CHECKS, "escalate", verdict=AROUND)
