"""The metrics of several processes as those of one. Counters and histograms add up, of processes that have ended too,
so that they never go back; what gauges come to is said here for each of them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from pydantic import ConfigDict, TypeAdapter

Labels = tuple[tuple[str, str], ...]
GAUGE = "gauge"
BEGAN = "_created"

GAUGES: Mapping[str, Callable[[Sequence[float]], float]] = {
    # each worker has its own part
    "smallfirst_requests_running": math.fsum,
    "smallfirst_queue_waiting": math.fsum,
    "smallfirst_queue_running": math.fsum,
    "smallfirst_journal_bytes": math.fsum,
    "smallfirst_tier_demand_tokens_per_second": math.fsum,
    # each sees the same thing: as it is seen by who sees most of it, or the worst of it
    "smallfirst_replica_up": max,
    "smallfirst_replica_requests": max,
    "smallfirst_replica_requests_waiting": max,
    "smallfirst_replica_fingerprint_age_seconds": max,
    "smallfirst_alarm_evidence": max,
    "smallfirst_alarm_at": max,
    "smallfirst_confidence_drift": max,
    "smallfirst_audits_read_age_seconds": max,
    "smallfirst_certificate_state": max,
    "smallfirst_budget_infeasible": max,
    "smallfirst_certificate_valid": min,
    "smallfirst_limits_store_up": min,
    # each has learned its own, of the same requests
    "smallfirst_replica_token_acceptance": fmean,
    "smallfirst_threshold": fmean,
    "smallfirst_threshold_by": fmean,
    "smallfirst_budget_share": fmean,
}


class Value(NamedTuple):
    """One value, under its name and labels."""

    name: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """A metric with all its values."""

    name: str
    documentation: str
    kind: str
    values: tuple[Value, ...]


Families = tuple[Family, ...]
FAMILIES = TypeAdapter(Families, config=ConfigDict(ser_json_inf_nan="constants"))


def families_of(registry: CollectorRegistry) -> Families:
    """What a registry has now."""
    return tuple(
        Family(
            metric.name, metric.documentation, metric.type,
            tuple(Value(one.name, tuple(one.labels.items()), float(one.value)) for one in metric.samples),
        )
        for metric in registry.collect()
    )  # fmt: skip


def lasting(families: Families) -> Families:
    """Of a process that has ended: what has happened is not undone by that, what was the case there no longer is."""
    return tuple(family for family in families if family.kind != GAUGE)


def added(parts: Iterable[Families]) -> Families:
    """All of them as one."""
    found: dict[str, list[Family]] = {}
    for families in parts:
        for family in families:
            found.setdefault(family.name, []).append(family)
    return tuple(
        first._replace(values=tuple(values_of([first, *others]))) for first, *others in found.values()
    )  # fmt: skip


def values_of(families: Sequence[Family]) -> Iterator[Value]:
    """The values of one metric, each once."""
    found: dict[tuple[str, Labels], list[float]] = {}
    for family in families:
        for name, labels, value in family.values:
            found.setdefault((name, labels), []).append(value)
    whole = families[0]
    for (name, labels), values in found.items():
        yield Value(name, labels, values[0] if len(values) == 1 else sum_for(whole, name)(values))


def sum_for(family: Family, name: str) -> Callable[[Sequence[float]], float]:
    """How the values of that name come to one."""
    if family.kind == GAUGE:
        return GAUGES.get(family.name, math.fsum)
    return min if name.endswith(BEGAN) else math.fsum


class TotalsCollector(Collector):
    """Metrics as they were read."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Their values."""
        for family in self._families:
            metric = Metric(family.name, family.documentation, family.kind)
            for name, labels, value in family.values:
                metric.add_sample(name, dict(labels), value)
            yield metric


def registry_of(families: Families) -> CollectorRegistry:
    """They, as the exposition takes them."""
    registry = CollectorRegistry()
    registry.register(TotalsCollector(families))
    return registry
