"""What a tier will be asked to write is known when requests arrive, before any of them gets to it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.answer import Usage
from router.demand import ARRIVALS_S, QUEUE_WITHIN_S, TOKENS_BEFORE_ANY, Flow, Forecast, Rate, demand
from router.events import Accepted, Called, Capped, Escalated, Event, Planned

AMOUNTS = st.floats(0, 1e6)
TIERS = ("small", "large")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def planned(mode="threshold", cascade="auto", tiers=TIERS) -> Planned:
    return Planned(cascade, tiers, mode, 0.5)


def told(events: list[Event], clock: Clock | None = None) -> Forecast:
    forecast = Forecast(clock or Clock())
    for event in events:
        forecast.observe(event, "auto")
    return forecast


def test_it_is_arrivals_by_escalations_by_tokens_and_the_queue() -> None:
    flows = [Flow(arrivals=10, reach=0.2, tokens=300), Flow(arrivals=1, reach=1, tokens=60)]

    assert demand(flows, waiting=0) == 10 * 0.2 * 300 + 60
    assert demand(flows, waiting=15) == 660 + 15 * (660 / 3) / QUEUE_WITHIN_S


def test_requests_that_wait_count_where_nothing_else_arrives() -> None:
    assert demand([], waiting=3) == 3 * TOKENS_BEFORE_ANY / QUEUE_WITHIN_S
    assert demand([Flow(0, 0.5, 90)], waiting=3) == 3 * 90 / QUEUE_WITHIN_S
    assert demand([], waiting=0) == 0


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.floats(0, 1), st.floats(0, 1e5))
@example(5e-324, 0.0, 0.0, 1.0, 1.0, 1.5)
def test_the_demands_of_gateways_add_up(one, other, waiting, more, reach, tokens) -> None:
    both = demand([Flow(one + other, reach, tokens)], waiting + more)

    apart = demand([Flow(one, reach, tokens)], waiting) + demand([Flow(other, reach, tokens)], more)
    assert apart == pytest.approx(both, rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=40), st.floats(0, 100))
def test_what_one_gateway_takes_over_from_another_is_the_same_in_sum(arrivals, later_s) -> None:
    alone, first, second, now_s = Rate(), Rate(), Rate(), 0.0
    for pause_s, to_second in arrivals:
        now_s += pause_s
        alone.count(now_s)
        (second if to_second else first).count(now_s)

    now_s += later_s
    assert first.at(now_s) + second.at(now_s) == pytest.approx(alone.at(now_s))


def test_steady_arrivals_are_told_by_the_second_and_fade() -> None:
    rate = Rate()
    for tenth in range(6000):
        rate.count(tenth / 10)

    assert rate.at(600.0) == pytest.approx(10, rel=0.01)
    assert rate.at(600.0 + ARRIVALS_S) == pytest.approx(10 / 2.718, rel=0.01)


def test_arrivals_count_before_any_of_them_is_judged() -> None:
    history: list[Event] = [*[Accepted("small", "sure")] * 80, *[Escalated("small", "large", "unsure")] * 20]
    calls: list[Event] = [Called("large", Usage(10, 500), 0.1)] * 999
    clock = Clock()
    forecast = told([planned(), *history, *calls], clock)
    clock.now_s += 3600

    for _ in range(300):
        forecast.observe(planned(), "auto")

    (flow,) = forecast.flows("large")
    assert flow.arrivals == pytest.approx(300 / ARRIVALS_S)
    assert flow.reach == pytest.approx(0.2, abs=0.01)
    assert flow.tokens == pytest.approx(500, rel=0.01)
    assert forecast.flows("small")[0].reach == 1


def test_what_was_never_judged_is_taken_to_go_all_the_way_up() -> None:
    forecast = told([planned(tiers=("small", "middle", "large"))])

    assert [forecast.flows(tier)[0].reach for tier in ("small", "middle", "large")] == [1, 1, 1]


def test_three_tiers_are_climbed_one_by_one_or_by_a_leap() -> None:
    up: list[Event] = [Escalated("small", "middle", "unsure"), Escalated("small", "large", "unsure")] * 500
    middle: list[Event] = [Accepted("middle", "sure"), Escalated("middle", "large", "unsure")] * 500

    forecast = told([planned(tiers=("small", "middle", "large")), *up, *middle])

    assert forecast.flows("middle")[0].reach == pytest.approx(0.5, abs=0.01)
    assert forecast.flows("large")[0].reach == pytest.approx(0.5 + 0.5 * 0.5, abs=0.01)


def test_in_mode_exact_the_final_tier_gets_everything() -> None:
    accepted: list[Event] = [Accepted("small", "sure")] * 2000

    forecast = told([planned(), *accepted, *[planned("exact")] * 3000])

    assert forecast.flows("large")[0].reach == pytest.approx(1, abs=0.06)


def test_a_failover_that_was_capped_asks_nothing_of_the_next_tier() -> None:
    assert told([planned(), *[Capped("small")] * 3000]).flows("large")[0].reach < 0.01


def test_calls_that_failed_and_questions_say_nothing_of_how_long_answers_are() -> None:
    forecast = told([planned(), Called("large", Usage(0, 0), 0.1), Called("large", Usage(9, 1), 0.1, about="verdict")])

    assert forecast.flows("large")[0].tokens == TOKENS_BEFORE_ANY


def test_a_cascade_that_is_changed_begins_anew() -> None:
    forecast = told([planned(), *[Accepted("small", "sure")] * 100, planned(tiers=("small", "huge"))])

    assert forecast.flows("large") == []
    assert forecast.flows("huge")[0].reach == 1
