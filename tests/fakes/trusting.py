"""Artefacts as `smallfirst tune` writes them, whose calibration changes nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from router.calibration import Platt
from router.certificate import Certificate
from router.gate import Gate
from router.trust import Trust

CHECKS = ("empty", "malformed", "cut", "refused", "looping")
SAME = {"kind": "platt", "slope": 1.0, "intercept": 0.0}


def gate_of(*sizes: int, threshold: float = 0.5) -> Gate:
    """A gate that opens for whoever is likelier right than not."""
    return Gate(threshold=threshold, answers=1000, curves={size: Platt(slope=1.0, intercept=0.0) for size in sizes})


def certificate(threshold: float, **changed: Any) -> Certificate:
    """One of today."""
    said: dict[str, Any] = {
        "loss": "regret", "grader": "exact", "epsilon": 0.02, "delta": 0.1, "threshold": threshold,
        "questions": 1000, "accepted": 600, "losses": 10, "split": "ab" * 32,
        "certified_on": datetime.now(UTC).date(),
    }  # fmt: skip
    return Certificate.model_validate({**said, **changed})


def fit(scorer: str = "min-logprob", threshold: float = 0.5, certified: Certificate | None = None) -> dict[str, Any]:
    """How one kind of request is judged."""
    return {"scorer": {"kind": "fixed", "name": scorer}, "calibration": SAME, "confidence_of": "right",
            "threshold": threshold, "certificate": certified, "questions": 1000}  # fmt: skip


def trust(
    scorer: str = "min-logprob",
    threshold: float = 0.5,
    *,
    gate: Gate | None = None,
    certified: Certificate | None = None,
    clusters: Mapping[str, Any] | None = None,
    models: tuple[str, ...] = ("scripted", "scripted"),
    **changed: Any,
) -> Trust:
    """An artefact of the scripted pair."""
    said = {
        "tuned_on": "2026-01-01", "tiers": [{"model": model} for model in models], "checks": CHECKS,
        "on_missing_evidence": "escalate", "recorded": "cd" * 32, "grader": "exact",
        "fit": fit(scorer, threshold, certified), "clusters": clusters or {}, "gate": gate,
    }  # fmt: skip
    return Trust.model_validate({**said, **changed})
