"""When a failing server is left alone, and when it is tried again."""

from models.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def fail(breaker: Breaker, *, lost: bool = False) -> None:
    """One request that fails."""
    breaker.failed(breaker.sent(), lost=lost)


def broken(clock: Clock) -> Breaker:
    """One that has just opened."""
    breaker = Breaker(clock)
    for _ in range(3):
        fail(breaker)
    return breaker


def test_two_failures_in_a_row_are_forgiven() -> None:
    breaker = Breaker(Clock())
    for _ in range(5):
        fail(breaker)
        fail(breaker, lost=True)
        breaker.succeeded(breaker.sent())

    assert breaker.state == "closed"
    assert breaker.lets_through


def test_the_third_opens_it() -> None:
    breaker = broken(Clock())

    assert breaker.state == "open"
    assert not breaker.lets_through


def test_after_the_pause_one_request_is_let_through_and_decides() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now_s += FIRST_PAUSE_S

    assert breaker.state == "half-open"
    assert breaker.lets_through
    trial = breaker.sent()
    assert not breaker.lets_through
    breaker.succeeded(trial)
    assert breaker.state == "closed"


def test_a_request_that_says_nothing_leaves_it_to_the_next() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now_s += FIRST_PAUSE_S
    breaker.given_up(breaker.sent())

    assert breaker.lets_through


def test_requests_from_before_it_opened_decide_nothing() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    old = breaker.sent()
    for _ in range(3):
        fail(breaker)
    breaker.succeeded(old)
    assert breaker.state == "open"

    clock.now_s += FIRST_PAUSE_S
    breaker.sent()
    breaker.given_up(old)
    breaker.failed(old, lost=False)
    assert breaker.state == "half-open"
    assert not breaker.lets_through


def test_the_pause_doubles_up_to_a_limit() -> None:
    clock = Clock()
    breaker = broken(clock)
    pauses = []
    for _ in range(10):
        began_s = clock.now_s
        while breaker.state == "open":
            clock.now_s += 0.5
        pauses.append(clock.now_s - began_s)
        fail(breaker)

    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_lost_server_that_answers_again_is_asked_again_and_opens_at_the_next_failure() -> None:
    breaker = Breaker(Clock())
    for _ in range(4):
        breaker.found_lost()
    breaker.found_alive()

    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_a_sick_server_pauses_however_alive_it_looks() -> None:
    breaker = broken(Clock())
    breaker.found_alive()

    assert breaker.state == "open"
