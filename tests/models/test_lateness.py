"""A stream's reader waits no longer than it may, and its one timer is enough for that."""

from collections.abc import Callable

import pytest

from models.lateness import Lateness

FIRST_S, IDLE_S, TOTAL_S = 60.0, 10.0, 100.0


class Hand:
    """A loop whose time is moved by hand, and a source that remembers when it was given its error."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._next: tuple[float, Callable[[], None]] | None = None
        self.looks = 0
        self.late_at_s: float | None = None

    def time(self) -> float:
        return self._now_s

    def call_at(self, when: float, callback: Callable[[], None]) -> "Hand":
        self._next = when, callback
        return self

    def cancel(self) -> None:
        self._next = None

    def set_exception(self, exc: BaseException) -> None:
        assert isinstance(exc, TimeoutError)
        self.late_at_s = self._now_s

    def until(self, time_s: float) -> None:
        """Let time pass."""
        while self._next is not None and self._next[0] <= time_s:
            (self._now_s, look), self._next = self._next, None
            self.looks += 1
            look()
        self._now_s = time_s


def watched(*, first_s: float = FIRST_S) -> tuple[Hand, Lateness]:
    hand = Hand()
    return hand, Lateness(hand, hand, idle_s=IDLE_S, first_by_s=first_s, total_by_s=TOTAL_S)


@pytest.mark.parametrize("first_s", [FIRST_S, 3.0])
def test_before_anything_has_begun_the_limit_is_that_of_the_first_piece(first_s: float) -> None:
    hand, _ = watched(first_s=first_s)

    hand.until(first_s + 20)

    assert hand.late_at_s == first_s


@pytest.mark.parametrize("came_s", [0.1, 9.9, 10.0, 14.0, 59.0])
def test_a_pause_may_be_as_long_as_it_may_whenever_it_begins(came_s: float) -> None:
    hand, lateness = watched()
    hand.until(came_s)
    lateness.came()

    lateness.waits(begun=True)
    hand.until(TOTAL_S - 1)

    assert hand.late_at_s == came_s + IDLE_S


def test_a_reader_that_is_busy_is_not_waiting() -> None:
    hand, lateness = watched()
    lateness.waits(begun=True)
    hand.until(5.0)

    lateness.came()
    hand.until(50.0)
    lateness.waits(begun=True)
    hand.until(59.0)

    assert hand.late_at_s is None


def test_many_pieces_take_no_more_looks_than_few() -> None:
    hand, lateness = watched()
    for piece in range(500):
        lateness.waits(begun=piece > 0)
        hand.until(0.1 * piece)
        lateness.came()

    assert hand.late_at_s is None
    assert hand.looks <= 5


def test_all_of_it_has_a_limit_too() -> None:
    hand, lateness = watched()
    for second in range(int(TOTAL_S)):
        lateness.waits(begun=True)
        hand.until(float(second))
        lateness.came()

    hand.until(TOTAL_S + 1)

    assert hand.late_at_s == TOTAL_S


def test_nobody_looks_when_all_is_read() -> None:
    hand, lateness = watched()
    lateness.waits(begun=True)

    lateness.close()
    hand.until(TOTAL_S)

    assert (hand.looks, hand.late_at_s) == (0, None)
