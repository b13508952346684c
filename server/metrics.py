"""Prometheus metrics, from the same events as everything else. Each one is described in docs/metrics.md."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge

from models.answer import Usage
from models.errors import FailureReason
from models.pool import Pool
from models.waiting import Waiting
from router.audits import AuditResult
from router.cascade import Cascade
from router.demand import Forecast
from router.events import (
    Accepted,
    Asked,
    Began,
    Called,
    Capped,
    Drafted,
    Escalated,
    Event,
    Failed,
    Finished,
    Opened,
    Planned,
    Scored,
)
from router.outcome import Outcome
from server.access.refusal import Reason
from server.cascades import CascadeCollector, Overseen
from server.demand import DemandCollector
from server.labelled import Labels
from server.pools import PoolCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
CONFIDENCES = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """The counters and histograms of one gateway; label values come from the configuration and closed sets alone."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        made = Labels(registry)
        self._requests = made.counter(
            "smallfirst_requests", "Requests by what became of them.", "cascade", "tier", "status"
        )
        self._refused = made.counter(
            "smallfirst_refused_requests", "Requests that got no further than the door.", "status"
        )
        self._turned_away = made.counter(
            "smallfirst_turned_away_requests", "Requests whose sender may not ask.", "reason"
        )
        self._accepted = made.counter(
            "smallfirst_accepted_drafts", "Drafts that were the answer.", "cascade", "tier", "reason"
        )
        self._escalations = made.counter(
            "smallfirst_escalations", "Steps up to the next tier.", "cascade", "tier", "reason"
        )
        self._fallbacks = made.counter(
            "smallfirst_fallbacks",
            "Requests in mode certified that the final tier answered instead.",
            "cascade",
            "reason",
        )
        self._failures = made.counter("smallfirst_tier_failures", "Calls that gave no answer.", "tier", "reason")
        self._calls = made.counter("smallfirst_tier_calls", "Calls to tiers.", "tier")
        self._tokens = made.counter("smallfirst_tier_tokens", "Tokens of all calls.", "tier", "kind")
        self._cost = made.counter(
            "smallfirst_cost", "Cost of all calls, in the currency of the prices.", "cascade", "tier"
        )
        self._final_alone = made.counter(
            "smallfirst_cost_final_alone", "Cost had the final tier been asked alone.", "cascade", "estimated"
        )
        self._confidence = made.histogram(
            "smallfirst_confidence", "Confidence of scored drafts.", "cascade", "tier", buckets=CONFIDENCES
        )
        self._first_piece = made.histogram(
            "smallfirst_tier_first_piece_seconds",
            "From a call to the first piece of its answer.",
            "tier",
            buckets=SECONDS,
        )
        self._duration = made.histogram(
            "smallfirst_request_seconds", "From a request to its answer's end.", "cascade", buckets=SECONDS
        )
        self._overhead = made.histogram(
            "smallfirst_overhead_seconds",
            "The gateway's own time until an answer begins.",
            "cascade",
            buckets=OVERHEAD_SECONDS,
        )
        self._handed_over = made.counter(
            "smallfirst_handovers", "Answers whose engine was handed a draft.", "cascade", "tier"
        )
        self._draft_tokens = made.counter(
            "smallfirst_draft_tokens", "Tokens of drafts, by what became of them.", "cascade", "tier", "result"
        )
        self._opened = made.counter(
            "smallfirst_opened_streams", "Streams that opened before their draft was whole.", "cascade", "tier"
        )
        self._continued = made.counter(
            "smallfirst_continued_streams",
            "Answers that the final tier went on with after a draft's beginning.",
            "cascade",
            "tier",
            "prefix",
        )
        self._capped = made.counter(
            "smallfirst_capped_failovers",
            "Requests refused because too many went up after failures.",
            "cascade",
            "tier",
        )
        self._verified = made.counter(
            "smallfirst_verified_tokens",
            "Draft tokens that an engine verified, by what became of them.",
            "cascade",
            "tier",
            "result",
        )
        self._passed = made.counter(
            "smallfirst_passed_requests",
            "Requests that are no completions, and went to a tier as they came.",
            "tier",
            "endpoint",
            "status",
        )
        self._audits = made.counter("smallfirst_audits", "Audits by what they found.", "cascade", "result")
        self._audit_cost = made.counter("smallfirst_audit_cost", "What audits cost.", "cascade")
        self._running = Gauge("smallfirst_requests_running", "Requests being answered.", registry=registry)
        self._forecast = Forecast()

    def expect(self, cascades: Iterable[Cascade]) -> None:
        """Begin what alerts look at with 0: for Prometheus nothing that becomes 1 has not increased."""
        for cascade in cascades:
            for tier in cascade.tiers:
                for reason in get_args(FailureReason):
                    self._failures.labels(tier.name, reason)
            for tier in cascade.tiers[:-1]:
                self._capped.labels(cascade.name, tier.name)

    def watch(self, pools: Mapping[str, Pool], waiting: Mapping[str, Waiting] = MappingProxyType({})) -> None:
        """Report the pools' servers too, and what will be asked of them, whenever the metrics are read."""
        self.registry.register(PoolCollector(pools))
        self.registry.register(DemandCollector(self._forecast, pools, waiting))

    def oversee(self, cascades: Sequence[Overseen]) -> None:
        """Report where the cascades stand too."""
        self.registry.register(CascadeCollector(cascades))

    def began(self) -> None:
        """A request is being answered."""
        self._running.inc()

    def refused(self, status: int) -> None:
        """A request got no further than the door."""
        self._refused.labels(str(status)).inc()

    def turned_away(self, reason: Reason) -> None:
        """Its sender may not ask; it is refused too."""
        self._turned_away.labels(reason).inc()

    def passed(self, tier: str, endpoint: str, *, status: int, usage: Usage | None, cost: float) -> None:
        """A request that went to a tier as it came is over; status 499 where the client left."""
        self._passed.labels(tier, endpoint, str(status)).inc()
        if usage is not None:
            self._tokens.labels(tier, "prompt").inc(usage.prompt_tokens)
            self._tokens.labels(tier, "completion").inc(usage.completion_tokens)
            self._cost.labels(tier, tier).inc(cost)

    def audit_cost(self, cascade: str, tier: str, cost: float) -> None:
        """An audit's call to the tier cost so much."""
        self._audit_cost.labels(cascade).inc(cost)
        self._cost.labels(cascade, tier).inc(cost)

    def audited(self, cascade: str, result: AuditResult) -> None:
        """An audit is over."""
        self._audits.labels(cascade, result).inc()

    def observe(self, event: Event, cascade: str) -> None:
        """Count what happened."""
        self._forecast.observe(event, cascade)
        match event:
            case Asked() | Finished():
                pass
            case Called():
                self._called(event, cascade)
            case Began(tier=tier, waited_s=waited_s):
                self._first_piece.labels(tier).observe(waited_s)
            case Scored(tier=tier, confidence=confidence):
                self._confidence.labels(cascade, tier).observe(confidence)
            case Accepted(tier=tier, reason=reason):
                self._accepted.labels(cascade, tier, reason).inc()
            case Escalated(tier=tier, reason=reason):
                self._escalations.labels(cascade, tier, reason).inc()
            case Failed(tier=tier, reason=reason):
                self._failures.labels(tier, reason).inc()
            case Planned(fallback=str(reason)):
                self._fallbacks.labels(cascade, reason).inc()
            case Capped(tier=tier):
                self._capped.labels(cascade, tier).inc()
            case _:
                self._drafted(event, cascade)

    def _called(self, call: Called, cascade: str) -> None:
        self._calls.labels(call.tier).inc()
        self._tokens.labels(call.tier, "prompt").inc(call.usage.prompt_tokens)
        self._tokens.labels(call.tier, "completion").inc(call.usage.completion_tokens)
        self._handed_over.labels(cascade, call.tier).inc(call.handed)
        if call.went_on is not None:
            self._continued.labels(cascade, call.tier, call.went_on.by).inc()
        if call.speculation is not None:
            proposed, accepted = call.speculation.proposed, call.speculation.accepted
            self._verified.labels(cascade, call.tier, "accepted").inc(accepted)
            self._verified.labels(cascade, call.tier, "rejected").inc(proposed - accepted)

    def _drafted(self, event: Event, cascade: str) -> None:
        match event:
            case Drafted(tier=tier, tokens=tokens, answered=answered):
                self._draft_tokens.labels(cascade, tier, "answer").inc(answered)
                self._draft_tokens.labels(cascade, tier, "wasted").inc(tokens - answered)
            case Opened(tier=tier):
                self._opened.labels(cascade, tier).inc()

    def ended(self, outcome: Outcome, *, status: int, elapsed_s: float, overhead_s: float | None) -> None:
        """A request is over, whoever ended it; status 499 where the client left, no overhead where nothing began."""
        self._running.dec()
        cascade = outcome.cascade.name
        self._requests.labels(cascade, outcome.tier, str(status)).inc()
        self._duration.labels(cascade).observe(elapsed_s)
        if overhead_s is not None:
            self._overhead.labels(cascade).observe(overhead_s)
        for tier, spent in outcome.spent.items():
            self._cost.labels(cascade, tier).inc(spent.cost)
        if outcome.finished:
            estimated = "true" if outcome.estimates_final else "false"
            self._final_alone.labels(cascade, estimated).inc(outcome.cost_final_alone)
