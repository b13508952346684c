"""The headers that tell which tier answered, and why."""

from urllib.parse import quote

from router.outcome import Outcome

PREFIX = "x-smallfirst-"


def id_headers(request_id: str) -> dict[str, str]:
    """The request's id, under the names by which OpenAI's and Anthropic's clients know it."""
    return {"x-request-id": request_id, "request-id": request_id}


def decision_headers(outcome: Outcome, *, request_id: str, overhead_s: float) -> dict[str, str]:
    """What is known of a request when its answer begins.

    `-cluster` is the kind of request whose own fit judges, in ASCII with the rest as %XX. `-overhead-ms` is the
    gateway's own time until then: all that was not spent waiting for a model.
    """
    headers = {
        **id_headers(request_id),
        PREFIX + "cascade": outcome.cascade.name,
        PREFIX + "tier": outcome.tier,
        PREFIX + "mode": outcome.cascade.policy.mode,
        PREFIX + "escalated": "true" if outcome.escalated else "false",
        PREFIX + "reason": outcome.reason,
        PREFIX + "overhead-ms": f"{overhead_s * 1000:.2f}",
    }
    if len(outcome.cascade.tiers) > 1 and outcome.cascade.policy.mode != "exact":
        headers[PREFIX + "threshold"] = f"{outcome.cascade.policy.threshold:.6f}"
        headers[PREFIX + "threshold-by"] = outcome.cascade.policy.threshold_by
        if outcome.cascade.policy.cluster is not None:
            headers[PREFIX + "cluster"] = quote(outcome.cascade.policy.cluster, safe="/ ")
    if outcome.confidence is not None:
        headers[PREFIX + "confidence"] = f"{outcome.confidence:.6f}"
        headers[PREFIX + "confidence-of"] = outcome.cascade.policy.scorer.confidence_of
    if outcome.verdict is not None:
        headers[PREFIX + "verdict"] = f"{outcome.verdict:.6f}"
    if outcome.speculation is not None:
        headers[PREFIX + "token-acceptance"] = f"{outcome.speculation.rate:.6f}"
    return headers
