"""The store's own metrics. Each one is described in docs/metrics.md."""

from collections import Counter as Kinds
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from server.labelled import Labels
from server.store.lines import kind_of
from server.store.records import Record

Loss = Literal["full", "unwritable", "torn", "refused"]


class Tally:
    """Counts what was kept, and what could not be."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._bytes = Gauge(
            "smallfirst_journal_bytes", "Bytes of this process's journal that are not in the store.", registry=registry
        )
        self._dropped = Counter(
            "smallfirst_journal_dropped_records", "Records that were not kept.", ("reason",), registry=registry
        )
        for reason in get_args(Loss):
            self._dropped.labels(reason)  # an alert looks for its first
        self._written = Labels(registry).counter(
            "smallfirst_store_written_records", "Records that the store took.", "kind"
        )
        self._failures = Counter(
            "smallfirst_store_failures", "Tries to write to the store that failed.", registry=registry
        )

    def watch(self, left: Callable[[], float]) -> None:
        """Report this many bytes whenever the metrics are read."""
        self._bytes.set_function(left)

    def dropped(self, reason: Loss) -> None:
        """A record was not kept."""
        self._dropped.labels(reason).inc()

    def written(self, records: Sequence[Record]) -> None:
        """The store took these."""
        for kind, number in Kinds(map(kind_of, records)).items():
            self._written.labels(kind).inc(number)

    def failed(self) -> None:
        """The store could not be written to; the records wait."""
        self._failures.inc()
