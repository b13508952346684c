"""The confidences that recorded questions allow: as they were recorded, from the tokens of drafts, from the agreement
with a helper, and by an artefact. Each is one policy of an evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from router.agreement import agreement_of
from router.events import CheckReason
from router.graders import grader_of
from router.lab.agreement import agree
from router.lab.judged import NEVER, confidences, evidence_in, prompt_for
from router.lab.measures import Floats
from router.lab.outcomes import P_TRUE, BadRecord, Output, Recorded, p_true_in
from router.lab.selection import Roles
from router.scorers import SCORERS, ConfidenceOf, Evidence, Scorer
from router.skipping import PromptGain
from router.text_features import text_features
from router.trust import Fit, OpinionPrint, Trust
from router.words import asked_in

CHECKS: tuple[CheckReason, ...] = get_args(CheckReason)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy: a confidence (n,) in each draft, -1 where it escalates whatever the threshold; what that is the
    probability of; the thresholds that it came with, by what they are for; whether it asks the helper, or for P(True),
    or decides before there is a draft."""

    name: str
    confidence: Floats
    confidence_of: ConfidenceOf = "uncalibrated"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    asks_helper: bool = False
    asks_p_true: bool = False
    before_generation: bool = False


def recorded_candidates(questions: Sequence[Recorded], roles: Roles) -> Iterator[Candidate]:
    """Those that nothing has to be fitted for. Raises BadRecord where a reply is none."""
    drafts = [one.outputs[roles.draft] for one in questions]
    if any(draft.confidence is not None for draft in drafts):
        recorded = [NEVER if draft.confidence is None else draft.confidence for draft in drafts]
        yield Candidate("recorded confidence", np.array(recorded))
    evidence = evidence_of_all(questions, roles, CHECKS)
    known = [one for one in evidence if one is not None]
    has_alternatives = any(token.alternatives for one in known for token in one.tokens)
    for name, scorer in SCORERS.items():
        if known and (has_alternatives or not scorer.alternatives):
            yield Candidate(name, confidences(evidence, scorer))
    if roles.helper is not None:
        yield Candidate("agreement", agreement(questions, roles), asks_helper=True)


def agreement(questions: Sequence[Recorded], roles: Roles) -> Floats:
    """(n,): 1 where the helper gives the drafter's answer, else 0."""
    pairs = [(one.outputs[roles.draft], one.outputs[roles.helper or roles.draft]) for one in questions]
    return np.array([float(agree(draft.answer, helper.answer)) for draft, helper in pairs])


def evidence_of_all(
    questions: Sequence[Recorded], roles: Roles, checks: Sequence[CheckReason], *, reads_tokens: bool = True
) -> list[Evidence | None]:
    """What a scorer reads of each draft; None of one without, or that fails a check. Raises BadRecord."""
    return [
        evidence_in(one.outputs[roles.draft], prompt_for(one), checks, reads_tokens=reads_tokens) for one in questions
    ]


def artefact_candidates(questions: Sequence[Recorded], roles: Roles, trust: Trust) -> Iterator[Candidate]:
    """How the artefact judges each draft; and each prompt, where it needs no embedding for that. Raises BadRecord where
    it reads what the file does not have."""
    yield judging_candidate(questions, roles, trust)
    if isinstance(trust.skip, PromptGain):
        confidence = np.array([trust.skip.confidence(prompt_of(one)) for one in questions])
        yield Candidate("artefact, before generation", confidence, before_generation=True)


def prompt_of(question: Recorded) -> str:
    """What the user said, as the gateway reads it before there is a draft."""
    return asked_in(prompt_for(question).fields)


def judging_candidate(questions: Sequence[Recorded], roles: Roles, trust: Trust) -> Candidate:
    """Each draft judged by the fit for its cluster; its opinions are the features that a recorded file has. Raises
    BadRecord."""
    by_cluster = {name: fit.judging for name, fit in trust.clusters.items()}
    fits = [trust.fit, *trust.clusters.values()]
    evidence = evidence_of_all(
        questions, roles, trust.checks, reads_tokens=any(fit.judging.reads_tokens for fit in fits)
    )
    asks = any(fit.judging.opinions for fit in fits)
    signals = signals_of(questions, roles) if asks else [{}] * len(questions)
    compared = trust.opinions.get("agreement")
    said = [as_served(one, roles, compared, found) for one, found in zip(questions, signals, strict=True)]
    judged = np.array(
        [
            judged_by(by_cluster.get(cluster_of(one, trust) or "", trust.fit.judging), seen, opinions)
            for one, seen, opinions in zip(questions, evidence, said, strict=True)
        ]
    )
    return Candidate("artefact", judged, trust.fit.confidence_of, thresholds_of(fits),
                     asks_helper=any("agreement" in fit.judging.opinions for fit in fits),
                     asks_p_true=asks_p_true(trust))  # fmt: skip


def asks_p_true(trust: Trust) -> bool:
    """Whether some of the artefact's scorers read P(True)."""
    return P_TRUE in trust.asks


def cluster_of(question: Recorded, trust: Trust) -> str | None:
    """Its kind, as a request tells it that names none, where its words can; else the question's task."""
    return question.task if trust.words is None else trust.words.cluster(prompt_of(question))


def as_served(
    question: Recorded, roles: Roles, compared: OpinionPrint | None, signals: Mapping[str, float]
) -> Mapping[str, float | None]:
    """The signals with P(True) as it was recorded and the helper's agreement as the gateway would find it; None where
    that can tell nothing."""
    draft, helper = question.outputs[roles.draft], question.outputs[roles.helper or roles.draft]
    said: dict[str, float | None] = {**signals}
    if P_TRUE in (draft.opinions or {}):
        said[P_TRUE] = p_true_in(draft)
    if compared is not None and roles.helper is not None:
        said["agreement"] = agreement_of(draft.said, helper.said, grader_of(compared.grader or "exact"))
    return said


def thresholds_of(fits: Sequence[Fit]) -> Mapping[str, float]:
    """Those that are one for all kinds of request."""
    found: Mapping[str, set[float | None]] = {
        "at its own threshold": {fit.threshold for fit in fits},
        "at its certified threshold": {fit.certificate.threshold if fit.certificate else None for fit in fits},
    }
    return {name: one for name, several in found.items() for one in several if one is not None and len(several) == 1}


def judged_by(scorer: Scorer, evidence: Evidence | None, opinions: Mapping[str, float | None]) -> float:
    """The confidence in one draft, with what was said of it, None where that cannot be told. Raises BadRecord."""
    if evidence is None or any(opinions.get(name, 0.0) is None for name in scorer.opinions):
        return NEVER
    told = {name: value for name, value in opinions.items() if value is not None}
    try:
        return scorer.confidence(scorer.score(replace(evidence, opinions=told)))
    except KeyError as missing:
        raise BadRecord(f"the artefact reads {missing.args[0]!r}, which recorded questions do not have") from missing


def signals_of(questions: Sequence[Recorded], roles: Roles) -> Sequence[Mapping[str, float]]:
    """Each draft's text features, and the helper's agreement and the recorded confidence where there are any."""
    agrees = agreement(questions, roles) if roles.helper is not None else None
    with_confidence = all(one.outputs[roles.draft].confidence is not None for one in questions)
    signals = []
    for place, one in enumerate(questions):
        draft = one.outputs[roles.draft]
        features = dict(text_features(draft.text or "", prompt=one.prompt or "", answer=answer_of(draft)))
        if agrees is not None:
            features["agreement"] = float(agrees[place])
        if with_confidence:
            features["confidence"] = float(draft.confidence or 0.0)
        signals.append(features)
    return signals


def answer_of(draft: Output) -> str | None:
    """As text."""
    return None if draft.answer is None else str(draft.answer)
