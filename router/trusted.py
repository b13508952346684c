"""How a cascade with an artefact judges each kind of request in each mode. Under `certified`, what has no valid
certificate goes to the final tier."""

from dataclasses import replace
from datetime import UTC, datetime

from router.events import Fallback, Mode
from router.gate import HOLD
from router.policy import Policy
from router.trust import Fit, Trust


class Trusted:
    """The policies that an artefact makes of a cascade's own, which says what the artefact does not: the mode, the
    rules of streams, and a threshold where the operator set one (None: the artefact's)."""

    def __init__(self, trust: Trust, policy: Policy, *, threshold: float | None) -> None:
        self.trust = trust
        self._policy = policy
        self._by_task = {task: self._judging(fit, threshold) for task, fit in trust.clusters.items()}
        self._of_all = self._judging(trust.fit, threshold)

    def policy(self, mode: Mode, task: str | None) -> Policy:
        """How a request is judged; in mode `exact`, with the reason, where `certified` cannot be kept."""
        if mode == "exact":
            return replace(self._policy, mode="exact")
        judging = self._by_task.get(task or "", self._of_all)
        if mode == "threshold":
            return replace(judging, mode="threshold")
        certificate = self.fit(task).certificate
        fallback: Fallback | None = None
        if certificate is None:
            fallback = "uncertified"
        elif self.trust.clusters and task not in self.trust.clusters:
            fallback = "unknown-task"
        elif certificate.is_expired(datetime.now(UTC)):
            fallback = "expired"
        if certificate is None or fallback is not None:
            return replace(self._policy, mode="exact", fallback=fallback)
        return replace(judging, mode="certified", threshold=certificate.threshold, stream=HOLD)

    def fit(self, task: str | None) -> Fit:
        """What judges this kind of request."""
        return self.trust.clusters.get(task or "", self.trust.fit)

    def _judging(self, fit: Fit, threshold: float | None) -> Policy:
        chosen = fit.threshold if threshold is None else threshold
        stream = replace(self._policy.stream, gate=self.trust.gate)
        return replace(self._policy, scorer=fit.judging, threshold=chosen, stream=stream)
