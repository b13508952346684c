"""How a cascade with an artefact judges each kind of request in each mode. Under `certified`, what has no certificate
goes to the final tier; whether a certificate still holds is for its watch to say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from router.events import Fallback, Mode
from router.gate import HOLD
from router.policy import Policy
from router.trust import Fit, Trust


@dataclass(frozen=True, slots=True)
class Judging:
    """The policies for one kind of request; `certified` is None where there is no certificate."""

    threshold: Policy
    certified: Policy | None


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of request one is: the cluster whose fit judges it, None for that of all requests; and whether it is
    one of those that the cluster's certificate is for."""

    cluster: str | None
    counted: bool


class Trusted:
    """The policies that an artefact makes of a cascade's own, which says what the artefact does not: the rules of
    streams, and a threshold where the operator set one (None: the artefact's). The gate was fitted with the scorer of
    all requests, so it tells nothing of those that a cluster's judges."""

    def __init__(self, trust: Trust, policy: Policy, *, threshold: float | None) -> None:
        self.trust = trust
        self.identity = trust.identity
        self._exact = replace(policy, mode="exact")
        own = replace(policy, stream=replace(policy.stream, gate=trust.gate))
        self._of_all = judging_of(trust.fit, own, threshold)
        self._by_task: Mapping[str, Judging] = {
            task: judging_of(fit, replace(policy, cluster=task), threshold) for task, fit in trust.clusters.items()
        }

    @property
    def reads_words(self) -> bool:
        """Whether the words of a request tell its kind."""
        return self.trust.words is not None

    def kind(self, named: str | None, words: str) -> Kind:
        """By the task that is named for the request, else by its words, where the artefact can tell from these. Then
        the certificates are for requests as their words tell them: one that is named otherwise is none of those."""
        if self.trust.words is None:
            return self._kind(named, counted=True)
        told = self.trust.words.cluster(words)
        return self._kind(told, counted=True) if named is None else self._kind(named, counted=named == told)

    def _kind(self, name: str | None, *, counted: bool) -> Kind:
        return Kind(name if name in self._by_task else None, counted)

    def policy(self, mode: Mode, kind: Kind) -> Policy:
        """How a request is judged; in mode `exact`, with the reason, where `certified` cannot be kept."""
        if mode == "exact":
            return self._exact
        judging = self._of_all if kind.cluster is None else self._by_task[kind.cluster]
        if mode == "threshold":
            return judging.threshold
        if judging.certified is None:
            return self._instead("uncertified")
        if self._by_task and kind.cluster is None:
            return self._instead("unknown-task")
        if not kind.counted:
            return self._instead("other-task")
        return judging.certified

    def _instead(self, fallback: Fallback) -> Policy:
        return replace(self._exact, fallback=fallback)


def judging_of(fit: Fit, policy: Policy, threshold: float | None) -> Judging:
    """The policies of a fit, made of the cascade's own."""
    chosen = fit.threshold if threshold is None else threshold
    judging = replace(policy, mode="threshold", scorer=fit.judging, threshold=chosen)
    certificate = fit.certificate
    if certificate is None:
        return Judging(judging, None)
    certified = replace(
        judging, mode="certified", threshold=certificate.threshold, threshold_by="certificate", stream=HOLD
    )
    return Judging(judging, certified)
