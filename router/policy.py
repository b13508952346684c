"""When a draft is good enough. Pure functions of the draft, of what was said of it, and of what the operator set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import Struct

from models.answer import Draft
from models.prompt import Prompt
from router.checks import failed_check
from router.events import AcceptanceReason, CheckReason, EscalationReason, EvidenceReason, Fallback, Mode, ThresholdBy
from router.evidence import questions_in, read_of
from router.gate import HOLD, StreamRules
from router.scorers import Evidence, Scorer
from router.skipping import Skip
from router.verdict import Band

OnMissingEvidence = Literal["escalate", "accept"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a cascade judges drafts: accept iff no check fails and the confidence is at least the threshold, or, within
    the band of `verdict`, the final tier finds the draft right; when it shows them, and when it asks for none (`skip`).
    `threshold_by` says what the threshold was set by last, `fallback` why mode `exact` is served in place of mode
    `certified`, and `cluster` whose fit it is of an artefact's; None: the one to all questions, or no fit."""

    mode: Mode
    scorer: Scorer
    threshold: float
    checks: tuple[CheckReason, ...]
    on_missing_evidence: OnMissingEvidence
    stream: StreamRules = HOLD
    threshold_by: ThresholdBy = "config"
    fallback: Fallback | None = None
    verdict: Band | None = None
    skip: Skip | None = None
    cluster: str | None = None


class Keep(Struct, frozen=True):
    """The draft is good enough."""

    reason: AcceptanceReason


class GoUp(Struct, frozen=True):
    """The next tier must answer. `failed`: for what a tier did not say of the draft, because it failed."""

    reason: EscalationReason
    failed: bool = False


class Judgement(Struct, frozen=True):
    """What becomes of a draft, and its score and confidence where it got as far as that."""

    ruling: Keep | GoUp
    score: float | None = None
    confidence: float | None = None


def judge(draft: Draft, prompt: Prompt, policy: Policy, opinions: Sequence[Mapping[str, float]] = ()) -> Judgement:
    """Checks first, then the evidence, then the score; of several choices the least sure one counts. `opinions` are
    what was said of each choice, by the question's name."""
    found = evidence_for(draft, prompt, policy)
    return found if isinstance(found, Judgement) else weighed(found, policy, opinions)


def evidence_for(draft: Draft, prompt: Prompt, policy: Policy) -> Sequence[Evidence] | Judgement:
    """What the scorer reads of each choice, but for opinions; or what becomes of a draft whatever is said of it."""
    failed = failed_check(draft.choices, prompt, policy.checks)
    if failed is not None:
        return Judgement(GoUp(failed))
    found: list[Evidence] = []
    missing: EvidenceReason | None = None
    questions = questions_in(prompt) if policy.scorer.reads_text else [None]
    each = max(1, len(draft.choices) // len(questions))
    for place, choice in enumerate(draft.choices):
        asked = questions[min(place // each, len(questions) - 1)]
        evidence = read_of(choice, prompt, reads_tokens=policy.scorer.reads_tokens, asked=asked)
        if isinstance(evidence, str):
            missing = missing or evidence
        else:
            found.append(evidence)
    scored_without = policy.on_missing_evidence == "accept" and found and not policy.scorer.opinions
    return found if missing is None or scored_without else without_evidence(missing, policy)


def weighed(evidence: Sequence[Evidence], policy: Policy, opinions: Sequence[Mapping[str, float]] = ()) -> Judgement:
    """What becomes of a draft with this evidence and these opinions of each choice."""
    scorer = policy.scorer
    if scorer.opinions:
        wanted = set(scorer.opinions)
        if len(opinions) != len(evidence) or not all(wanted <= one.keys() for one in opinions):
            return without_opinions(policy)
        evidence = [replace(one, opinions=said) for one, said in zip(evidence, opinions, strict=True)]
    return scored(min(map(scorer.score, evidence), key=scorer.confidence), policy)


def scored(score: float, policy: Policy) -> Judgement:
    """What becomes of a draft with this score."""
    confidence = policy.scorer.confidence(score)
    sure = confidence >= policy.threshold
    return Judgement(Keep("sure") if sure else GoUp("unsure"), score, confidence)


def without_evidence(reason: EvidenceReason, policy: Policy) -> Judgement:
    """What the operator set for a draft that cannot be scored."""
    return Judgement(Keep(reason) if policy.on_missing_evidence == "accept" else GoUp(reason))


def without_opinions(policy: Policy, *, failed: bool = False) -> Judgement:
    """The same for one of which a model did not say what it was asked. Under a certificate it is never accepted: when
    models fail, it is not as when that was made."""
    accepts = policy.on_missing_evidence == "accept" and policy.mode != "certified"
    return Judgement(Keep("no-evidence") if accepts else GoUp("no-evidence", failed))


def band_of(judgement: Judgement, policy: Policy) -> Band | None:
    """The band that a draft which was judged so falls into: then the final tier is asked for its verdict."""
    band, confidence = policy.verdict, judgement.confidence
    return band if band is not None and confidence is not None and band.asks(confidence, policy.threshold) else None


def after_verdict(band: Band, probability: float) -> Keep | GoUp:
    """What becomes of a draft in doubt that the final tier finds right with this probability."""
    return Keep("verdict") if band.accepts(probability) else GoUp("verdict")
