"""The metrics of several workers as those of one."""

import math
import re
import socket
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from server.metrics import Metrics
from server.settings.schema import Settings
from server.workers.link import Gone, Link, Word
from server.workers.round import WITHIN_S, Rounds
from server.workers.timers import Timers
from server.workers.totals import (
    FAMILIES,
    GAUGES,
    Families,
    Family,
    Value,
    added,
    families_of,
    lasting,
    registry_of,
)
from server.workers.worker import Generation, Worker

TIER = {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://a:1"]}
DOCS = Path(__file__).parents[2] / "docs"


def said(registry: CollectorRegistry) -> Families:
    """What arrives of it at another process."""
    return FAMILIES.validate_json(FAMILIES.dump_json(families_of(registry)))


def gauge(name: str, value: float) -> Families:
    """A gauge without labels."""
    return (Family(name, "", "gauge", (Value(name, (), value),)),)


def test_one_worker_shows_what_it_would_show_alone() -> None:
    metrics = Metrics()
    metrics.began()
    metrics.refused(400)
    metrics.passed("large", "/tokenize", status=200, usage=None, cost=0.5)

    assert generate_latest(registry_of(added([said(metrics.registry), ()]))) == generate_latest(metrics.registry)


def test_counts_add_up_by_their_labels_and_buckets_too() -> None:
    parts = []
    for statuses, seconds in ((("200", "200"), 0.5), (("200", "503"), 5.0)):
        registry = CollectorRegistry()
        counter = Counter("requests", "d", ("status",), registry=registry)
        for status in statuses:
            counter.labels(status).inc()
        Histogram("seconds", "d", buckets=(1, 10), registry=registry).observe(seconds)
        parts.append(said(registry))

    total = registry_of(added(parts))

    assert total.get_sample_value("requests_total", {"status": "200"}) == 3
    assert total.get_sample_value("requests_total", {"status": "503"}) == 1
    assert [total.get_sample_value("seconds_bucket", {"le": le}) for le in ("1.0", "10.0", "+Inf")] == [1, 2, 2]
    assert total.get_sample_value("seconds_sum") == 5.5


def test_of_who_has_ended_counts_last_and_gauges_do_not() -> None:
    registry = CollectorRegistry()
    Counter("requests", "d", registry=registry).inc(7)
    Gauge("running", "d", registry=registry).set(3)

    past = registry_of(lasting(said(registry)))

    assert past.get_sample_value("requests_total") == 7
    assert past.get_sample_value("running") is None


@pytest.mark.parametrize(
    ("name", "comes_to"),
    [("smallfirst_requests_running", 4.0), ("smallfirst_replica_requests", 3.0), ("smallfirst_limits_store_up", 1.0),
     ("smallfirst_threshold", 2.0)],
)  # fmt: skip
def test_each_gauge_has_its_own_way(name: str, comes_to: float) -> None:
    assert added([gauge(name, 1.0), gauge(name, 3.0)]) == gauge(name, comes_to)


def test_it_is_said_of_every_gauge_what_several_come_to() -> None:
    rows = re.findall(r"^\| `(smallfirst_\w+)` \| gauge ", (DOCS / "metrics.md").read_text(), re.MULTILINE)

    assert set(rows) == set(GAUGES)


def test_numbers_that_are_none_travel_too() -> None:
    odd = FAMILIES.validate_json(FAMILIES.dump_json((*gauge("a", math.inf), *gauge("b", math.nan))))

    assert odd[0].values[0].value == math.inf
    assert math.isnan(odd[1].values[0].value)


def pair() -> tuple[Link, Link]:
    """Both ends."""
    ours, theirs = socket.socketpair()
    return Link(ours), Link(theirs)


def test_a_link_brings_words_whole_however_long_and_says_when_nobody_is_left() -> None:
    one, other = pair()
    long = b"x" * 3_000_000
    heard: list[tuple[Word, bytes]] = []
    one.send(Word.READY)
    one.send(Word.TOLD, long)
    assert one.is_behind

    while one.is_behind or len(heard) < 2:
        heard += other.heard()
        one.flush()
    one.send(Word.ASKED)
    one.close()

    assert heard == [(Word.READY, b""), (Word.TOLD, long)]
    assert other.heard() == [(Word.ASKED, b"")]
    with pytest.raises(Gone):
        other.heard()
    other.send(Word.TELL)
    assert not other.is_behind


class Told:
    """Rounds over two workers, of which the test plays the processes."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers = Timers(lambda: self.now_s)
        self.rounds = Rounds(self.timers, CollectorRegistry())
        generation = Generation(Settings.model_validate({"tiers": {"small": TIER}}))
        links = [pair() for _ in range(2)]
        self.ends = [theirs for _, theirs in links]
        self.workers = [Worker(generation, place, place, ours, ready_s=0.0) for place, (ours, _) in enumerate(links)]

    def ask(self, place: int) -> None:
        """A worker asks."""
        self.rounds.asked(self.workers[place], self.workers)

    def tell(self, place: int, count: float) -> None:
        """A worker has counted so much."""
        family = Family("requests", "", "counter", (Value("requests_total", (), count),))
        self.rounds.told(self.workers[place], (family,), self.workers)

    def end(self, place: int) -> None:
        """A worker ends."""
        worker = self.workers.pop(place)
        self.rounds.ended(worker, self.workers)

    def heard(self, place: int) -> list[float | None]:
        """The answers that a worker has got."""
        totals = [said for word, said in self.ends[place].heard() if word == Word.TOTALS]
        return [registry_of(FAMILIES.validate_json(one)).get_sample_value("requests_total") for one in totals]


def test_who_asks_is_told_the_sum_when_all_have_said_theirs() -> None:
    told = Told()
    told.ask(0)
    told.tell(0, 1)
    assert told.heard(0) == []

    told.tell(1, 2)

    assert told.heard(0) == [3]
    assert told.heard(1) == []


def test_who_asks_meanwhile_is_told_of_what_has_happened_until_then() -> None:
    told = Told()
    told.ask(0)
    told.tell(1, 2)
    told.ask(1)
    told.tell(0, 1)
    assert (told.heard(0), told.heard(1)) == ([3], [])

    told.tell(0, 1)
    told.tell(1, 5)

    assert told.heard(1) == [6]


def test_the_sum_does_not_go_back_when_a_worker_is_silent_or_ends() -> None:
    told = Told()
    told.ask(0)
    told.tell(0, 1)
    told.tell(1, 2)
    told.ask(0)
    told.tell(0, 4)

    told.now_s = WITHIN_S
    told.timers.run_due()
    assert told.heard(0) == [3, 6]

    told.ask(0)
    told.end(1)
    told.tell(0, 5)
    assert told.heard(0) == [7]
    told.ask(0)
    told.tell(0, 5)
    assert told.heard(0) == [7]
