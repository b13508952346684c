"""One certificate's watch while its store is away: its own audits count, and it stands no longer than it may."""

from datetime import UTC, date, datetime
from random import Random

import pytest
from fakes.trusting import certificate

from router.alarm import ALPHA, Stretch
from router.standing import Watched
from router.watch import GRACE_S, Watch, alpha_of_cluster

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOW_S = DAY.timestamp()
LOSS, QUIET = Stretch(1.0, 1.0, True), Stretch(1.0, 1.0, False)


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.s = 50.0

    def __call__(self) -> float:
        return self.s


def watch(clock: Clock | None = None) -> Watch:
    """Over a certificate of disagreement, of which nothing is known yet."""
    promised = certificate(0.5, loss="disagreement", certified_on=date(2026, 3, 1))
    return Watch(promised, now=lambda: DAY, clock_s=clock or Clock())


def placed(*stretches: Stretch) -> Watched:
    """What these come to in this order."""
    one = watch()
    for stretch in stretches:
        one.audited(stretch, NOW_S)
    return one.watched


def test_its_own_audits_count_before_they_have_a_place_and_once() -> None:
    one = watch()
    one.audited(QUIET, NOW_S)
    one.kept("a", LOSS, NOW_S)
    one.kept("b", QUIET, NOW_S)
    assert one.watched == placed(QUIET, LOSS, QUIET)

    one.audited(LOSS, NOW_S, audit="a")
    one.audited(QUIET, NOW_S, audit="b")

    assert one.watched == placed(QUIET, LOSS, QUIET)


def test_the_stores_order_decides_in_the_end() -> None:
    one = watch()
    one.kept("a", LOSS, NOW_S)
    one.kept("b", LOSS, NOW_S)
    for audit in ("another's", "a", "another's", "b"):
        one.audited(LOSS if audit in "ab" else QUIET, NOW_S, audit=audit)

    assert one.watched == placed(QUIET, LOSS, QUIET, LOSS)


def test_two_gateways_that_audit_while_the_store_is_away_come_to_the_same() -> None:
    draw = Random(1)
    first, second = watch(), watch()
    own = [[(f"{number}{name}", draw.choice([LOSS, QUIET, QUIET])) for number in range(30)] for name in "ab"]
    for one, audits in zip((first, second), own, strict=True):
        for audit, stretch in audits:
            one.kept(audit, stretch, NOW_S)
    assert first.watched != second.watched

    queues = [list(audits) for audits in own]
    while any(queues):
        audit, stretch = draw.choice([queue for queue in queues if queue]).pop(0)
        for one in (first, second):
            one.audited(stretch, NOW_S, audit=audit)

    assert first.watched == second.watched
    assert first.watched.alarm.audits == 60


def test_an_audit_that_was_lost_on_its_way_is_not_waited_for() -> None:
    one = watch()
    one.kept("lost", LOSS, NOW_S)
    one.kept("a", QUIET, NOW_S)

    one.audited(QUIET, NOW_S, audit="a")

    assert one.watched == placed(QUIET)


def test_its_own_audits_raise_the_alarm_and_a_later_order_may_take_it_back() -> None:
    one = watch()
    for number in range(4):
        one.kept(f"{number}", LOSS, NOW_S)
    assert one.standing.state == "alarmed"

    for number in range(4):
        for _ in range(120):
            one.audited(QUIET, NOW_S)
        one.audited(LOSS, NOW_S, audit=f"{number}")

    assert one.standing.state != "alarmed"


def test_without_its_store_a_certificate_stands_for_the_grace_and_no_longer() -> None:
    clock = Clock()
    one = watch(clock)
    assert one.read_age_s is None
    one.remembers()
    assert (one.standing.state, one.read_age_s) == ("unread", None)
    one.read()

    clock.s += GRACE_S
    assert (one.standing.state, one.read_age_s) == ("certified", GRACE_S)
    clock.s += 0.1
    assert (one.standing.fallback, one.standing.why) == (
        "unread", "what audits have found cannot be read from the store")  # fmt: skip
    one.read()
    assert one.standing.is_valid


def test_without_a_store_there_is_nothing_to_read() -> None:
    clock = Clock()
    one = watch(clock)
    clock.s += 1e6

    assert one.standing.state == "certified"


def test_what_audits_cannot_tell_of_needs_no_reading() -> None:
    clock = Clock()
    one = Watch(certificate(0.5, certified_on=date(2026, 3, 1)), now=lambda: DAY, clock_s=clock)
    one.remembers()
    clock.s += 1e6

    assert one.standing.state == "certified"


@pytest.mark.parametrize("certificates", [1, 2, 64])
def test_all_alarms_together_have_the_error_of_one(certificates: int) -> None:
    assert alpha_of_cluster(certificates) * certificates == pytest.approx(ALPHA)
