"""Metrics by their labels."""

import pytest
from prometheus_client import CollectorRegistry

from server.labelled import Labels


def test_the_same_labels_count_together_and_others_apart() -> None:
    registry = CollectorRegistry()
    counted = Labels(registry).counter("calls", "Calls.", "tier", "kind")

    counted.labels("small", "prompt").inc(2)
    counted.labels("small", "prompt").inc(3)
    counted.labels("prompt", "small").inc(7)

    assert registry.get_sample_value("calls_total", {"tier": "small", "kind": "prompt"}) == 5
    assert registry.get_sample_value("calls_total", {"tier": "prompt", "kind": "small"}) == 7


def test_what_was_read_is_counted_once_and_goes_on() -> None:
    registry = CollectorRegistry()
    calls = Labels(registry).counter("calls", "Calls.", "tier")

    calls.labels("small")
    read = [registry.get_sample_value("calls_total", {"tier": "small"})]
    for _ in range(2):
        calls.labels("small").inc()
        read.append(registry.get_sample_value("calls_total", {"tier": "small"}))

    assert read == [0, 1, 2]
    assert registry.get_sample_value("calls_created", {"tier": "small"})


def test_no_two_counters_have_one_name() -> None:
    made = Labels(CollectorRegistry())
    made.counter("calls", "Calls.", "tier")

    with pytest.raises(ValueError, match="calls"):
        made.counter("calls", "Others.", "tier")
