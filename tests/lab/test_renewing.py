"""Certificates from audits: what they say at each threshold, and how seldom they are wrong."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from fakes.trusting import certificate
from hypothesis import given
from hypothesis import strategies as st

from router.audits import Span, Tally
from router.certificate import Certificate
from router.lab.betting import log_e_value
from router.lab.certifying import Wanted, delta_of_round
from router.lab.renewing import Audited, Line, NotYet, audits_needed, renew, seen_at
from router.verdict import Band

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = certificate(0.6, loss="disagreement", epsilon=0.05, certified_on=date(2026, 1, 1))
LINE = Line(FIRST, "artefact-1")


def audits(number: int, **changed: object) -> list[Audited]:
    """So many, of drafts of all confidences that served, each with one request more that was not accepted."""
    day = NOW.timestamp() - 86_400
    confidences = np.linspace(0.6, 0.999, number)
    made = [
        Audited(f"{place:06}", place + 1, day, 2.0, 0.6, float(one), False) for place, one in enumerate(confidences)
    ]
    return [replace(one, **changed) for one in made]


def lost(made: list[Audited], *places: int) -> list[Audited]:
    """These, of which some are losses."""
    return [replace(one, lost=place in places) for place, one in enumerate(made)]


def wanted(line: Line = LINE, epsilon: float = 0.05) -> Wanted:
    return Wanted("disagreement", "exact", epsilon, line.delta)


def renewed(made: list[Audited], line: Line = LINE, epsilon: float = 0.05) -> Certificate:
    """The certificate that there is to be."""
    found = renew(made, line, wanted(line, epsilon), now=NOW)
    assert isinstance(found, Certificate), found
    return found


def refused(made: list[Audited], line: Line = LINE, epsilon: float = 0.05) -> NotYet:
    """Why there is none."""
    found = renew(made, line, wanted(line, epsilon), now=NOW)
    assert isinstance(found, NotYet), found
    return found


def test_quiet_audits_certify_the_threshold_that_served_anew() -> None:
    found = renewed(audits(200))

    assert (found.loss, found.grader, found.epsilon, found.threshold) == ("disagreement", "exact", 0.05, 0.6)
    assert (found.questions, found.accepted, found.losses) == (400, 200, 0)
    assert found.delta == pytest.approx(delta_of_round(0.1, 2))
    assert found.certified_on == date(2026, 2, 28)
    assert found.watched == ("exact", 0.05)
    assert (found.renewal.round, found.renewal.renewed_from) == (2, "artefact-1")
    assert (found.renewal.after, found.renewal.until, found.renewal.exposure) == (0, 200, 400.0)


def test_the_next_round_has_less_of_the_same_delta_and_later_audits() -> None:
    second = renewed(audits(200))
    line = Line(second, "artefact-2")

    assert (line.round, line.after, line.shared) == (3, 200, 0.1)
    third = renewed([replace(one, place=one.place + 200) for one in audits(200)], line)
    assert third.delta == pytest.approx(delta_of_round(0.1, 3))
    assert (third.renewal.after, third.renewal.until, third.renewal.renewed_from) == (200, 400, "artefact-2")
    assert sum(delta_of_round(0.1, number) for number in range(2, 10_000)) < 0.04


def test_losses_among_the_least_sure_raise_the_threshold_and_nothing_lowers_it() -> None:
    found = renewed(lost(audits(400), *range(80)))

    assert 0.62 < found.threshold < 0.7
    assert found.losses < 80
    evidence = log_e_value(found.losses, found.renewal.exposure, 0.05)
    assert evidence >= -math.log(found.delta)
    assert renewed(audits(4_000), epsilon=0.4).threshold == 0.6


def test_a_threshold_that_was_raised_tells_nothing_of_lower_ones() -> None:
    low = audits(100)
    raised = [replace(one, threshold=0.8, place=one.place + 100) for one in audits(100) if one.confidence >= 0.8]

    seen = seen_at([*low, *raised], LINE)

    assert seen.exposure[-1] == 200.0
    assert seen.exposure[seen.thresholds >= 0.8].min() == 200.0 + 2 * len(raised)
    assert (np.diff(seen.exposure) <= 0).all()
    alone = refused([replace(one, threshold=0.8) for one in audits(30)])
    assert alone.exposure == 60.0, "where it was raised all the time, a stricter threshold can be certified"
    assert renewed([replace(one, threshold=0.8) for one in audits(400)]).threshold >= 0.8


def test_what_a_raised_threshold_accepted_and_lost_counts_all_the_same() -> None:
    raised = lost([replace(one, threshold=0.8) for one in audits(100)], 99)

    assert seen_at(raised, LINE).losses[-1] == 1


def test_a_draft_without_a_confidence_counts_at_every_threshold() -> None:
    made = [*audits(100), *audits(1, confidence=None, lost=True, place=101)]

    assert (seen_at(made, LINE).losses == 1).all()


def test_a_band_in_which_the_final_tier_was_asked_counts_whole() -> None:
    banded = replace(LINE, verdict=Band(low=0.5, high=0.7))
    made = lost(audits(100, threshold=0.6), 5)

    seen = seen_at(made, banded)

    inside = (seen.thresholds >= 0.6) & (seen.thresholds <= 0.7)
    assert (seen.losses[inside] == 1).all(), "at any threshold in the band it might be accepted"
    assert (seen.losses[~inside] == 0).all()


def test_too_few_audits_say_how_many_more_and_so_many_do() -> None:
    found = refused(audits(20))

    assert found.message.startswith("disagreement <= 0.05 is not shown yet at delta 0.0152: at threshold")
    assert f"about {found.audits_needed} more audits would do at this rate of losses" in found.message
    assert isinstance(renew(audits(20 + found.audits_needed), LINE, wanted(), now=NOW), Certificate)
    assert isinstance(renew(audits(20 + found.audits_needed - 5), LINE, wanted(), now=NOW), NotYet)


def test_too_many_losses_among_the_surest_say_that_nothing_helps() -> None:
    found = refused(lost(audits(200, confidence=0.9), *range(40)))

    assert (found.accepted, found.losses, found.audits_needed) == (200, 40, None)
    assert "more audits do not help at this rate of losses: record questions, and tune" in found.message


def test_no_audits_certify_nothing() -> None:
    found = refused([])

    assert (found.accepted, found.exposure) == (0, 0.0)
    assert found.audits_needed > 100


def test_losses_without_exposure_need_more_than_can_be_told() -> None:
    made = lost(audits(3, exposure=0.0), 0, 1, 2)

    assert audits_needed(seen_at(made, LINE), -1, wanted()) is None


def test_a_clock_that_is_ahead_makes_no_later_certificate() -> None:
    assert renewed(audits(200, time_s=1e18)).certified_on == NOW.date()


ODD = st.builds(
    Audited,
    st.just("a"),
    st.integers(1, 1000),
    st.floats(0, 1e9),
    st.floats(0, 50),
    st.sampled_from([0.6, 0.7, 0.9, 1.0, math.inf]),
    st.none() | st.floats(0.6, 1),
    st.booleans(),
)
BANDS = st.none() | st.sampled_from([Band(low=0.5, high=0.7), Band(low=0.6, high=0.95), Band(low=0.1, high=0.2)])


@given(made=st.lists(ODD, max_size=25), verdict=BANDS)
def test_the_evidence_falls_as_the_threshold_does_whatever_was_audited(
    made: list[Audited], verdict: Band | None
) -> None:
    line = replace(LINE, verdict=verdict)

    seen = seen_at(made, line)

    assert (np.diff(seen.thresholds) < 0).all()
    assert seen.thresholds[-1] == 0.6
    assert (np.diff(seen.exposure) <= 0).all()
    assert (np.diff(seen.accepted) >= 0).all()
    assert (np.diff(seen.losses) >= 0).all()
    assert (seen.accepted[-1], seen.losses[-1]) == (len(made), sum(one.lost for one in made))
    assert (np.diff(log_e_value(seen.losses, seen.exposure, 0.05)) <= 1e-9).all()
    found = renew(made, line, wanted(epsilon=0.4), now=NOW)
    assert isinstance(found, NotYet) or found.threshold >= 0.6


@dataclass(frozen=True)
class Stream:
    """Requests whose loss at the certified threshold is `loss`, half of it at confidences below 0.8. A process sees
    `life` of them; audits fail with a probability if they would have found a loss, and else with another; a share of
    all is `dropped`."""

    loss: float
    life: int = 10_000
    failing: float = 0.0
    failing_well: float = 0.0
    raises: bool = False
    dropped: float = 0.0
    propensities: tuple[float, ...] = (0.2, 0.5, 1.0)

    def audits(self, requests: int, draw: np.random.Generator) -> Iterator[tuple[Audited, float]]:
        """What is kept of so many requests, each with the exposure that the alarm counts."""
        tally, place = Tally[Audited](), 0
        for number in range(requests):
            if number % self.life == 0:
                tally = Tally[Audited]()
            threshold = 0.8 if self.raises and draw.random() < 0.5 else 0.6
            propensity = float(draw.choice(self.propensities))
            confidence = 0.7 if draw.random() < 0.5 else 0.9
            is_lost = draw.random() < self.loss
            span = Span(propensity, 0.0, threshold)
            if confidence < threshold or draw.random() >= propensity:
                tally.passed(span)
                continue
            if draw.random() < self.dropped:
                tally.ended(tally.began(span), None)
                continue
            failed = draw.random() < (self.failing if is_lost else self.failing_well)
            place += 1
            made = Audited(f"{place}", place, 0.0, 0.0, threshold, confidence, is_lost or failed)
            for one, run in tally.ended(tally.began(span), made):
                yield replace(one, exposure=run.exposure - run.unseen, threshold=run.threshold), run.exposure


def false_renewals(stream: Stream, *, runs: int, requests: int, counts_all: bool = False) -> float:
    """In which share of the runs the threshold that served is certified at some look, of one after every 20 audits, or
    the stricter one where that alone would be wrong."""
    draw, wrong = np.random.default_rng(1), 0
    asked = Wanted("disagreement", "exact", 0.1, 0.1)
    for _ in range(runs):
        kept = [
            replace(one, exposure=whole) if counts_all else one for one, whole in stream.audits(requests, draw)
        ]  # fmt: skip
        looks = (renew(kept[:number], LINE, asked, now=NOW) for number in range(20, len(kept) + 1, 20))
        wrong += any(isinstance(one, Certificate) and one.threshold <= 0.7 for one in looks)
    return wrong / runs


RUNS, MOST = 200, 0.1 + 3 * math.sqrt(0.1 * 0.9 / 200)


@pytest.mark.parametrize(
    "stream",
    [
        Stream(0.1),
        Stream(0.1, life=4),
        Stream(0.1, failing=1.0),
        Stream(0.1, failing=0.5, failing_well=0.02),
        Stream(0.1, raises=True),
        Stream(0.1, life=30, raises=True),
        Stream(0.1, dropped=0.7),
        Stream(0.1, dropped=0.3, raises=True),
    ],
    ids=["plain", "short lives", "all losses fail", "some fail", "raised at times", "both", "dropped", "dropped too"],
)
def test_a_loss_of_epsilon_is_seldom_certified_whatever_happens_to_audits(stream: Stream) -> None:
    assert false_renewals(stream, runs=RUNS, requests=300) <= MOST


def test_what_is_dropped_counts_for_all_that_would_have_been() -> None:
    rare = Stream(0.1, dropped=0.6, propensities=(0.1,))

    assert false_renewals(rare, runs=60, requests=2_000) <= 0.1


def test_counting_what_only_the_alarm_may_count_would_be_wrong() -> None:
    assert false_renewals(Stream(0.1, life=4), runs=RUNS, requests=300, counts_all=True) > 0.3


def test_a_small_loss_is_certified() -> None:
    assert false_renewals(Stream(0.02), runs=50, requests=300) > 0.8
