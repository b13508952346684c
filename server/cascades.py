"""What an operator sees of the cascades: a list, and metrics read from them at the moment of asking."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from models.pool import Pool
from models.wire import JsonObject
from router.audits import Sampling
from router.budget import Budget
from router.cascade import Cascade
from router.events import ThresholdBy
from router.policy import Policy
from router.standing import State, expiry
from router.watch import Watch
from server.auditing import Auditor

NO_CLUSTER = ""  # to Prometheus that is as good as no label


@dataclass(frozen=True, slots=True)
class Overseen:
    """A cascade as it is configured, who audits it, and the final tier's servers."""

    cascade: Cascade
    auditor: Auditor
    pool: Pool

    @property
    def policy(self) -> Policy:
        """What a request without controls of its own would be judged by now."""
        return self.cascade.standing(self.auditor.watches, self.pool.pressure).policy


def cascade_card(overseen: Overseen) -> JsonObject:
    """One cascade, as JSON; null is what it does not have."""
    cascade, policy, auditor = overseen.cascade, overseen.policy, overseen.auditor
    return {
        "cascade": cascade.name,
        "tiers": [tier.name for tier in cascade.tiers],
        "mode": policy.mode,
        "threshold": None if policy.mode == "exact" else policy.threshold,
        "threshold_by": None if policy.mode == "exact" else policy.threshold_by,
        "final_tier_pressure": overseen.pool.pressure,
        "budget": budget_card(cascade.steering.budget),
        "audits": audits_card(auditor.sampling, auditor),
        "certificates": [certificate_card(watch) for watch in auditor.watches.values()],
    }


def budget_card(budget: Budget | None) -> JsonObject | None:
    """The share that is held."""
    if budget is None:
        return None
    return {"target": budget.target, "share": budget.share, "infeasible": budget.is_infeasible}


def audits_card(sampling: Sampling | None, auditor: Auditor) -> JsonObject | None:
    """How much is audited."""
    if sampling is None:
        return None
    return {
        "grader": auditor.comparing.grader,
        "propensity": auditor.propensity(auditor.cascade.policy.cluster),
        "spent_today": sampling.spent_today,
        "spend_per_day": sampling.rules.spend_per_day,
    }


def certificate_card(watch: Watch) -> JsonObject:
    """What is promised of which cluster, whether it holds, and what speaks against it."""
    certificate, watched, standing = watch.certificate, watch.watched, watch.standing
    return {
        "cluster": watch.cluster,
        **certificate.model_dump(mode="json"),
        "state": standing.state,
        "why": standing.why,
        "expires": expiry(certificate, watched).isoformat(),
        "evidence": watched.alarm.evidence,
        "alarm_at": watched.alarm.alarm_at,
        "audited": watched.alarm.audits,
        "audited_losses": watched.alarm.losses,
        "exposure": watched.alarm.exposure,
        "drift": None if watch.drift is None else watch.drift.index,
        "read_age_s": watch.read_age_s,
    }


class CascadeCollector(Collector):
    """Gauges of where cascades stand at the moment."""

    def __init__(self, cascades: Sequence[Overseen]) -> None:
        self._cascades = cascades

    def collect(self) -> Iterator[Metric]:
        """Their values."""
        yield from self._thresholds()
        yield from self._budgets()
        yield from self._certificates()

    def _thresholds(self) -> Iterator[Metric]:
        threshold = of_cascades("threshold", "The threshold that drafts have to reach just now.")
        by = of_cascades("threshold_by", "1 for what set the threshold last, else 0.", "by")
        for one in self._cascades:
            policy = one.policy
            if policy.mode != "exact":
                threshold.add_metric((one.cascade.name,), policy.threshold)
                for name in get_args(ThresholdBy):
                    by.add_metric((one.cascade.name, name), name == policy.threshold_by)
        yield from (threshold, by)

    def _budgets(self) -> Iterator[Metric]:
        share = of_cascades("budget_share", "What the budget holds, of about the last 1,000 requests.")
        infeasible = of_cascades("budget_infeasible", "1 where the budget cannot be had, else 0.")
        for one in self._cascades:
            budget = one.cascade.steering.budget
            if budget is not None:
                infeasible.add_metric((one.cascade.name,), budget.is_infeasible)
                if budget.share is not None:
                    share.add_metric((one.cascade.name,), budget.share)
        yield from (share, infeasible)

    def _certificates(self) -> Iterator[Metric]:
        valid = of_certificates("certificate_valid", "1 where the certificate holds, else 0.")
        states = of_certificates("certificate_state", "1 for the state that the certificate is in, else 0.", "state")
        evidence = of_certificates("alarm_evidence", "Natural logarithm of the e-value of the alarm.")
        alarm_at = of_certificates("alarm_at", "The evidence at which the alarm sounds.")
        drift = of_certificates("confidence_drift", "Population stability index of the last window of confidences.")
        read = of_certificates("audits_read_age_seconds", "Since what all gateways' audits found was last read.")
        for name, watch in self._watches():
            labels, standing, alarm = (name, watch.cluster or NO_CLUSTER), watch.standing, watch.watched.alarm
            valid.add_metric(labels, standing.is_valid)
            evidence.add_metric(labels, alarm.evidence)
            alarm_at.add_metric(labels, alarm.alarm_at)
            for state in get_args(State):
                states.add_metric((*labels, state), state == standing.state)
            if watch.drift is not None and watch.drift.index is not None:
                drift.add_metric(labels, watch.drift.index)
            if watch.read_age_s is not None:
                read.add_metric(labels, watch.read_age_s)
        yield from (valid, states, evidence, alarm_at, drift, read)

    def _watches(self) -> Iterator[tuple[str, Watch]]:
        for one in self._cascades:
            for watch in one.auditor.watches.values():
                yield one.cascade.name, watch


def of_cascades(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """An empty gauge with a series for each cascade."""
    return GaugeMetricFamily(f"smallfirst_{name}", documentation, labels=("cascade", *labels))


def of_certificates(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """An empty gauge with a series for each certificate of a cascade; that of the global fit has no cluster."""
    return of_cascades(name, documentation, "cluster", *labels)
