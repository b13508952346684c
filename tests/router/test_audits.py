"""Which drafts are audited, for how much money, and that what is folded of them stays a fair game."""

import math
from collections.abc import Iterator
from itertools import product
from random import Random

import pytest

from models.prompt import Prompt
from router.alarm import Alarm, Stretch, folded
from router.audits import (
    DAY_S,
    KNOWN,
    LOST_AT_START,
    LOST_AUDIT,
    AuditRules,
    Sampling,
    Span,
    Tally,
    can_be_audited,
    to_audit,
)

EPSILON = 0.1


class Clock:
    """A time that is set, in Unix seconds."""

    def __init__(self) -> None:
        self.now_s = 20_000.0 * DAY_S

    def __call__(self) -> float:
        return self.now_s


def sampling(rate: float = 0.5, spend_per_day: float = 10.0, clock: Clock | None = None) -> Sampling:
    return Sampling(AuditRules(rate, spend_per_day), draw=Random(1), now_s=clock or Clock())


def paid(one: Sampling, cost: float) -> None:
    """An audit from its beginning to its end."""
    one.began()
    one.paid(cost, one._now_s())
    one.ended()


def test_as_many_are_drawn_as_the_rate_says() -> None:
    one = sampling(rate=0.2)

    drawn = sum(one.draws(one.propensity()) for _ in range(5_000))

    assert drawn / 5_000 == pytest.approx(0.2, abs=3 * math.sqrt(0.2 * 0.8 / 5_000))


def test_a_warning_raises_the_rate_up_to_every_draft() -> None:
    assert sampling(rate=0.2).propensity(times=4.0) == pytest.approx(0.8)
    assert sampling(rate=0.5).propensity(times=4.0) == 1.0


def test_nothing_is_drawn_when_the_days_money_is_spent_and_all_is_again_the_next_day() -> None:
    clock = Clock()
    one = sampling(spend_per_day=3.5, clock=clock)
    for _ in range(3):
        assert one.propensity() == 0.5
        paid(one, 1.0)

    assert one.propensity() == 0.0
    assert not any(one.draws(0.0) for _ in range(1_000))
    clock.now_s += DAY_S
    assert one.propensity() == 0.5
    assert one.spent_today == 0.0


def test_what_is_under_way_counts_as_spent() -> None:
    one = sampling(spend_per_day=3.5)
    paid(one, 1.0)
    one.began()
    one.began()

    assert one.propensity() == 0.0
    one.ended()
    assert one.propensity() == 0.5


def test_until_it_is_known_what_one_costs_one_at_a_time_is_asked() -> None:
    one = sampling(spend_per_day=1e-9)
    assert one.propensity() == 0.5

    one.began()

    assert one.propensity() == 0.0


def test_what_other_gateways_paid_today_counts_and_what_was_paid_yesterday_does_not() -> None:
    clock = Clock()
    one = sampling(clock=clock)

    one.paid(9.5, clock.now_s - DAY_S)
    one.paid(2.0, clock.now_s)

    assert one.spent_today == 2.0


def test_free_models_are_audited_without_end() -> None:
    one = sampling(spend_per_day=0.01)
    for _ in range(100):
        paid(one, 0.0)

    assert one.propensity() == 0.5


def test_as_many_free_ones_as_come_run_at_once() -> None:
    one = Sampling(AuditRules(0.5, 0.01, are_free=True), draw=Random(1), now_s=Clock())
    one.began()
    one.began()

    assert one.propensity() == 0.5


def test_audits_come_out_in_the_order_of_their_requests_with_all_exposure() -> None:
    tally = Tally[str]()
    tally.passed(Span(0.5))
    first = tally.began(Span(0.5))
    tally.passed(Span(0.5))
    second, third = tally.began(Span(0.5)), tally.began(Span(0.5))
    tally.passed(Span(0.25))

    assert tally.ended(second, "second") == []
    assert tally.ended(first, "first") == [("first", Span(LOST_AT_START + 1.0, LOST_AT_START)), ("second", Span(1.0))]
    assert tally.ended(third, "third") == [("third", Span(0.5))]
    assert tally.ended(tally.began(Span(0.5)), "fourth") == [("fourth", Span(0.75))]


def test_gateways_that_end_often_raise_no_false_alarm_where_few_drafts_are_accepted() -> None:
    random, accepted = Random(1), 0.13

    alarmed = sum(sounds(random, accepted=accepted, loss=0.02, exposure=4_000, ends_after=20) for _ in range(60))

    assert alarmed <= 6, "a false alarm has a probability of 0.05 at most"


def sounds(random: Random, *, accepted: float, loss: float, exposure: int, ends_after: int) -> bool:
    """Whether the alarm sounds though the loss is what was certified, where each gateway lasts only so long."""
    alarm = Alarm(epsilon=loss)
    for _ in range(exposure // ends_after):
        tally, left = Tally[bool](accepted=accepted), float(ends_after)
        while (left := left - (gap := max(0.1, random.expovariate(accepted)))) > 0:
            tally.passed(Span(gap - 0.1))
            for lost, span in tally.ended(tally.began(Span(0.1)), random.random() < loss / accepted):
                alarm = alarm.after(Stretch(span.exposure, 0.1, lost))
    return alarm.sounds


def test_an_audit_without_a_result_leaves_its_exposure_to_the_next() -> None:
    tally = Tally[str]()
    first, second = tally.began(Span(0.5)), tally.began(Span(0.5))

    assert tally.ended(first, None) == []
    assert tally.ended(second, None) == []
    ((kept, span),) = tally.ended(tally.began(Span(0.5)), "third")
    assert (kept, span.exposure) == ("third", LOST_AT_START + 1.5)
    stands_for = (KNOWN + 1.0) / (KNOWN + 2)
    assert span.unseen == pytest.approx(LOST_AT_START + 2 * LOST_AUDIT * stands_for), "nobody knows what they had found"


def test_an_audit_tells_the_highest_threshold_since_the_one_before() -> None:
    tally = Tally[str]()
    for threshold in (0.5, 0.9, 0.6):
        tally.passed(Span(0.1, 0.0, threshold))
    first = tally.began(Span(0.1, 0.0, 0.5))
    second = tally.began(Span(0.1, 0.0, 0.7))

    ((_, before),) = tally.ended(first, "first")
    assert before.threshold == 0.9
    assert tally.ended(second, "second")[0][1].threshold == 0.7


@pytest.mark.parametrize("propensity", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("life", [1, 2, 3, 6])
def test_processes_that_end_feign_no_loss(propensity: float, life: int) -> None:
    """Over all that can happen to six requests, in processes that each see so many of them, the mean e-value is at most
    1, though nothing is kept of what came after a process's last audit."""
    mean = 0.0
    for outcomes in product((None, False, True), repeat=6):
        chances = {None: 1 - propensity, True: EPSILON * propensity, False: (1 - EPSILON) * propensity}
        chance = math.prod(chances[outcome] for outcome in outcomes)
        mean += chance * folded(stretches_of(outcomes, propensity, life), EPSILON).value

    assert mean <= 1 + 1e-12


def stretches_of(outcomes: tuple[bool | None, ...], propensity: float, life: int) -> Iterator[Stretch]:
    """What processes keep that see so many requests each."""
    for start in range(0, len(outcomes), life):
        tally = Tally[bool]()
        for outcome in outcomes[start : start + life]:
            if outcome is None:
                tally.passed(Span(propensity))
                continue
            for loss, span in tally.ended(tally.began(Span(propensity)), outcome):
                yield Stretch(span.exposure, propensity, loss)


def test_the_same_question_is_asked_in_one_piece() -> None:
    fields = {"messages": [], "stream": True, "stream_options": {"include_usage": True}, "seed": 7}
    prompt = to_audit(Prompt(fields, "id", alternatives=5, identified=True))

    assert prompt.fields == {"messages": [], "seed": 7}
    assert not prompt.streams
    assert prompt.request_id == "id-audit"
    assert prompt.alternatives is None


def test_several_choices_cannot_be_compared() -> None:
    assert can_be_audited(Prompt({"messages": []}, "id"))
    assert not can_be_audited(Prompt({"messages": [], "n": 2}, "id"))
