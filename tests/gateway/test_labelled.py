"""Metrics by their labels."""

from prometheus_client import CollectorRegistry, Counter

from server.labelled import Labelled


def test_the_same_labels_count_together_and_others_apart() -> None:
    registry = CollectorRegistry()
    counted = Labelled(Counter("calls", "Calls.", ("tier", "kind"), registry=registry))

    counted.labels("small", "prompt").inc(2)
    counted.labels("small", "prompt").inc(3)
    counted.labels("prompt", "small").inc(7)

    assert registry.get_sample_value("calls_total", {"tier": "small", "kind": "prompt"}) == 5
    assert registry.get_sample_value("calls_total", {"tier": "prompt", "kind": "small"}) == 7
