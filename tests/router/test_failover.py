"""How many requests may go up because a tier failed."""

import pytest

from router.failover import SPARED, WINDOW_S, Failover


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def failing(failover: Failover, requests: int) -> int:
    """How many of these requests go up, when the tier fails each."""
    went_up = 0
    for _ in range(requests):
        failover.asked()
        went_up += failover.may_go_up()
    return went_up


@pytest.mark.parametrize(("share", "went_up"), [(0.0, SPARED), (0.25, 100), (0.5, 200), (1.0, 400)])
def test_of_many_failing_requests_the_share_goes_up(share: float, went_up: int) -> None:
    assert failing(Failover(share, Clock()), 400) == went_up


def test_requests_that_did_not_fail_make_room_for_those_that_do() -> None:
    failover = Failover(0.1, Clock())
    for _ in range(1000):
        failover.asked()

    assert failing(failover, 90) == 90


@pytest.mark.parametrize("later_s", [2 * WINDOW_S, 10 * WINDOW_S])
def test_what_is_long_past_is_forgotten(later_s: float) -> None:
    clock = Clock()
    failover = Failover(0.0, clock)
    failing(failover, 100)
    clock.now_s += later_s

    assert failing(failover, 100) == SPARED


def test_what_was_a_moment_ago_counts() -> None:
    clock = Clock()
    failover = Failover(0.0, clock)
    failing(failover, 100)
    clock.now_s += WINDOW_S / 2

    assert failing(failover, 100) == 0
