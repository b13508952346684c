"""The sequential alarm: valid whatever the propensities, powerful, and all of it in a little JSON."""

import math
import random
from collections.abc import Iterator
from itertools import product

import pytest
from pydantic import ValidationError

from router.alarm import Alarm, Stretch, folded

EPSILON = 0.1
Seen = tuple[float, bool | None]  # a request's propensity, and what its audit found; None where there was none


def stretches_of(requests: list[Seen]) -> list[Stretch]:
    """The requests as they are folded; those after the last audit end in one that found nothing out."""
    stretches, exposure = [], 0.0
    for propensity, loss in requests:
        exposure += propensity
        if loss is not None:
            stretches.append(Stretch(exposure, propensity, loss))
            exposure = 0.0
    return [*stretches, Stretch(exposure, requests[-1][0], None)] if exposure else stretches


def expected_value(propensities: tuple[float, ...], acceptance: float, loss: float) -> float:
    """The mean e-value over all that can happen to as many requests as there are propensities: each draft is accepted
    with a probability, and accepted and bad with another."""
    total = 0.0
    for outcomes in product((None, False, True), repeat=len(propensities)):
        chance = 1.0
        for propensity, outcome in zip(propensities, outcomes, strict=True):
            found = {True: loss * propensity, False: (acceptance - loss) * propensity}
            chance *= found.get(outcome, 1 - acceptance * propensity)
        total += chance * folded(stretches_of([*zip(propensities, outcomes, strict=True)]), EPSILON).value
    return total


@pytest.mark.parametrize("propensities", [(1.0,) * 6, (0.3,) * 6, (1.0, 0.2, 0.01, 0.5, 0.9, 0.05)])
@pytest.mark.parametrize("acceptance", [EPSILON, 0.4, 1.0])
def test_a_loss_of_exactly_epsilon_is_a_fair_game(propensities: tuple[float, ...], acceptance: float) -> None:
    assert expected_value(propensities, acceptance, EPSILON) == pytest.approx(1, abs=1e-12)


def test_a_smaller_loss_is_a_losing_game_and_a_larger_one_a_winning_one() -> None:
    values = [expected_value((0.5,) * 6, 0.6, loss) for loss in (0.0, 0.05, 0.1, 0.2, 0.4)]

    assert values == sorted(values)
    assert values[1] < 1 < values[3]


def test_propensities_that_follow_what_was_seen_are_fair_too() -> None:
    def played(seen: list[Seen], chance: float) -> Iterator[tuple[list[Seen], float]]:
        if len(seen) == 6:
            yield seen, chance
            return
        propensity = 0.9 if any(loss for _, loss in seen) else 0.2
        for loss, part in ((True, EPSILON * propensity), (False, (0.5 - EPSILON) * propensity)):
            yield from played([*seen, (propensity, loss)], chance * part)
        yield from played([*seen, (propensity, None)], chance * (1 - 0.5 * propensity))

    mean = math.fsum(chance * folded(stretches_of(seen), EPSILON).value for seen, chance in played([], 1.0))

    assert mean == pytest.approx(1, abs=1e-12)


def test_clean_streams_seldom_alarm() -> None:
    draw = random.Random(5)
    alarms = [folded(audits(draw, loss=0.02, propensity=0.25, number=400), 0.02) for _ in range(200)]

    assert sum(alarm.sounds for alarm in alarms) <= 0.05 * 200 + 3 * math.sqrt(0.05 * 0.95 * 200)


@pytest.mark.parametrize(("loss", "within"), [(0.06, 150), (0.04, 350)])
def test_a_raised_loss_is_noticed_soon(loss: float, within: int) -> None:
    draw = random.Random(7)
    needed = sorted(audits_until_alarm(draw, Alarm(epsilon=0.02), loss) for _ in range(151))

    assert needed[75] <= within


def test_a_loss_that_rises_late_is_noticed_too() -> None:
    draw = random.Random(8)
    long_clean = [folded(audits(draw, loss=0.01, propensity=1.0, number=2_000), 0.02) for _ in range(31)]

    needed = sorted(audits_until_alarm(draw, alarm, 0.1) for alarm in long_clean if not alarm.sounds)

    assert len(needed) > 25
    assert needed[len(needed) // 2] < 250


def test_an_audit_that_found_nothing_out_counts_as_no_loss() -> None:
    unknown, good = (folded([Stretch(3.0, 0.5, loss)], EPSILON) for loss in (None, False))

    assert unknown.value == good.value < 1
    assert (unknown.audits, good.audits) == (0, 1)


def test_requests_without_audits_add_up_to_their_exposure() -> None:
    apart = folded([Stretch(2.0, 0.5, None), Stretch(1.0, 0.5, True)], EPSILON)
    together = folded([Stretch(3.0, 0.5, True)], EPSILON)

    assert apart.exposure == together.exposure
    assert apart.value == pytest.approx(together.value, rel=0.02), "but for the stakes that waited in between"


def test_an_alarm_is_not_taken_back() -> None:
    alarm = folded([Stretch(1.0, 1.0, True)] * 5, EPSILON)
    later = folded([Stretch(1.0, 1.0, True)] * 5 + [Stretch(50.0, 1.0, False)] * 40, EPSILON)

    assert alarm.sounds
    assert alarm.warns
    assert later.sounds
    assert not later.warns


def test_its_json_is_all_of_its_state() -> None:
    some = [Stretch(2.5, 0.5, False), Stretch(0.5, 0.5, True), Stretch(7.0, 0.25, None)]
    alarm = folded(some, EPSILON)

    read = Alarm.model_validate_json(alarm.model_dump_json())

    assert read == alarm
    assert read.after(some[1]) == alarm.after(some[1])
    assert len(alarm.model_dump_json()) < 300


def test_numbers_stay_finite_whatever_is_folded() -> None:
    lost = folded([Stretch(1.0, 1e-9, True)] * 300, 0.001)
    won = folded([Stretch(1e12, 1.0, False), Stretch(1.0, 1.0, True)], 0.9)

    assert math.isfinite(lost.value)
    assert lost.sounds
    assert math.isfinite(won.evidence)
    Alarm.model_validate_json(lost.model_dump_json())


@pytest.mark.parametrize(
    ("exposure", "propensity"), [(1.0, 0.0), (1.0, 1.1), (0.4, 0.5), (math.inf, 0.5), (math.nan, 0.5), (1.0, math.nan)]
)
def test_what_is_no_stretch_is_refused(exposure: float, propensity: float) -> None:
    with pytest.raises(ValueError, match=r"a propensity is|an exposure holds"):
        Stretch(exposure, propensity, False)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.1, math.nan])
def test_an_epsilon_that_is_no_share_is_refused(epsilon: float) -> None:
    with pytest.raises(ValidationError):
        Alarm(epsilon=epsilon)


def audits(draw: random.Random, *, loss: float, propensity: float, number: int) -> Iterator[Stretch]:
    """Audits of a stream whose drafts are all accepted, with the requests between them."""
    for _ in range(number):
        requests = 1
        while draw.random() >= propensity:
            requests += 1
        yield Stretch(requests * propensity, propensity, draw.random() < loss)


def audits_until_alarm(draw: random.Random, alarm: Alarm, loss: float) -> int:
    """How many audits, of drafts that are all accepted, it takes."""
    for number, stretch in enumerate(audits(draw, loss=loss, propensity=0.5, number=3_000), 1):
        alarm = alarm.after(stretch)
        if alarm.sounds:
            return number
    return 3_000
