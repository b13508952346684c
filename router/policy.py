"""When a draft is good enough. A pure function of the draft and of what the operator set."""

from dataclasses import dataclass
from typing import Literal

from models.answer import Draft
from models.prompt import Prompt
from router.checks import failed_check
from router.events import AcceptanceReason, CheckReason, EscalationReason, EvidenceReason, Fallback, Mode, ThresholdBy
from router.evidence import evidence_of
from router.gate import HOLD, StreamRules
from router.scorers import Scorer

OnMissingEvidence = Literal["escalate", "accept"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a cascade judges drafts: accept iff no check fails and the confidence is at least the threshold; and when it
    shows them. `threshold_by` says what the threshold was set by last, `fallback` why mode `exact` is served in place
    of mode `certified`."""

    mode: Mode
    scorer: Scorer
    threshold: float
    checks: tuple[CheckReason, ...]
    on_missing_evidence: OnMissingEvidence
    stream: StreamRules = HOLD
    threshold_by: ThresholdBy = "config"
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """The draft is good enough."""

    reason: AcceptanceReason


@dataclass(frozen=True, slots=True)
class GoUp:
    """The next tier must answer."""

    reason: EscalationReason


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a draft, and its score and confidence where it got as far as that."""

    verdict: Keep | GoUp
    score: float | None = None
    confidence: float | None = None


def judge(draft: Draft, prompt: Prompt, policy: Policy) -> Judgement:
    """Checks first, then the evidence, then the score; of several choices the least sure one counts."""
    failed = failed_check(draft.choices, prompt, policy.checks)
    if failed is not None:
        return Judgement(GoUp(failed))
    found = [evidence_of(choice, prompt) for choice in draft.choices]
    missing = next((one for one in found if isinstance(one, str)), None)
    scores = [policy.scorer.score(one) for one in found if not isinstance(one, str)]
    if missing is not None and (policy.on_missing_evidence == "escalate" or not scores):
        return without_evidence(missing, policy)
    return scored(min(scores, key=policy.scorer.confidence), policy)


def scored(score: float, policy: Policy) -> Judgement:
    """What becomes of a draft with this score."""
    confidence = policy.scorer.confidence(score)
    sure = confidence >= policy.threshold
    return Judgement(Keep("sure") if sure else GoUp("unsure"), score, confidence)


def without_evidence(reason: EvidenceReason, policy: Policy) -> Judgement:
    """What the operator set for a draft that cannot be scored."""
    return Judgement(Keep(reason) if policy.on_missing_evidence == "accept" else GoUp(reason))
