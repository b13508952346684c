"""From recorded questions to an artefact: fits a scorer, calibrates it, chooses a threshold, fits the gate, and
certifies on questions that none of these has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.calibration import Calibration
from router.certificate import Certificate, Loss
from router.drift import histogram_of
from router.events import CheckReason
from router.features import TOKEN_FEATURES, features_of
from router.fitted import Fixed, Logistic, base_scorer, calibrated
from router.gate import Gate
from router.graders import grader_of
from router.lab.calibrating import CannotCalibrate, fit_calibration
from router.lab.certifying import CannotCertify, Infeasible, Split, Tried, certify, delta_of_cluster, grid_of, tried_at
from router.lab.certifying import Wanted as Promised
from router.lab.examples import Example
from router.lab.fitting import CannotFit, cross_fitted
from router.lab.fitting import fit as fit_logistic
from router.lab.foresight import Embedding, Foresighted, foresight_of
from router.lab.gate_fitting import Seen, fit_gate
from router.lab.judged import NEVER, confidences
from router.lab.kinds import FEWEST, Kinds, by_task, by_words
from router.lab.splits import claim_split
from router.lab.tails import least_epsilon
from router.lab.targets import Floats, Measured, Target, threshold_for
from router.scorers import Scorer, ScorerName
from router.trust import Fit, OpinionPrint, TierPrint, Trust

ConfidenceOf = Literal["right", "no-regret"]
PRINTED = 1e6  # thresholds are told to six digits, and asked for so


class CannotTune(Exception):
    """The questions do not do for what is wanted."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What is to be certified: regret at most `epsilon`, but for a chance of `delta`; for so many days."""

    epsilon: float
    delta: float
    max_age_days: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator wants of the artefact. `scorer`: one of the fixed ones, or None for a fitted one; `features`
    are what that reads. `target` chooses the threshold of mode `threshold`, or `threshold` is it; with neither it is
    the certified one. `certify_share` of the questions are kept for the certificate of `loss`; `audit_grader` tells
    whether a draft and the final tier's answer agree, `answer_by` names the grader that finds the final answer in a
    draft for the features of its text. `by_task`: each task is fitted for itself, and requests name theirs; `clusters`:
    their words tell which it is, or which of so many groups that are found in the questions."""

    scorer: ScorerName | None
    features: tuple[str, ...]
    confidence_of: ConfidenceOf
    target: Target | None
    threshold: float | None
    promise: Promise | None
    certify_share: float
    by_task: bool
    gate_sizes: tuple[int, ...]
    loss: Loss
    seed: int
    audit_grader: str = "exact"
    skip: bool = False
    clusters: int | Literal["task"] | None = None
    answer_by: str | None = None

    @property
    def reads_tokens(self) -> bool:
        """Whether the scorer reads any; else it judges drafts without them too."""
        return self.scorer is not None or any(name in TOKEN_FEATURES for name in self.features)


@dataclass(frozen=True, slots=True)
class Of:
    """What the questions are of: the tiers as they were recorded, the policy's other rules, the grader, the file's
    SHA-256 and a sketch of its questions, and who answered questions about drafts."""

    tiers: tuple[TierPrint, ...]
    checks: tuple[CheckReason, ...]
    on_missing_evidence: Literal["escalate", "accept"]
    grader: str
    recorded: str
    opinions: Mapping[str, OpinionPrint] = field(default_factory=dict)
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The artefact; and the questions it was fitted on and certified on, as its confidence has them, for a report; and
    the score before generation that was wanted, also where it has not earned a place in the artefact."""

    trust: Trust
    fitted_on: Measured
    certified_on: Measured | None
    foresight: Foresighted | None = None


def tune(
    examples: Sequence[Example], of: Of, wanted: Wanted, ledger: Path, embedding: Embedding | None = None
) -> Tuned:
    """The artefact that these questions allow; its skip-router reads embeddings where there is somebody to ask for
    these. Raises CannotTune, or what `embedding` does."""
    refuse_few(examples)
    if wanted.promise is not None and of.on_missing_evidence == "accept":
        raise CannotTune(
            "on_missing_evidence: accept keeps drafts that nothing was certified of: set it to escalate, or leave out"
            " --epsilon"
        )
    fitting, certifying = split(examples, wanted)
    kinds = kinds_of(fitting, certifying, wanted)
    foresight = foresighted(fitting, embedding, wanted) if wanted.skip else None
    certification = certification_of(fitting, certifying, of, wanted, ledger, 1 + len(kinds.parts))
    fit = fitted(fitting, certifying, wanted, certification)
    clusters = fitted_kinds(kinds, wanted, certification)
    trust = Trust(
        tuned_on=datetime.now(UTC).date() if certification is None else certification.on,
        tiers=of.tiers,
        checks=of.checks,
        on_missing_evidence=of.on_missing_evidence,
        recorded=of.recorded,
        grader=of.grader,
        fit=fit,
        clusters=clusters,
        words=kinds.words,
        gate=gate_of(examples, fit, wanted.gate_sizes),
        opinions=of.opinions,
        skip=None if foresight is None or not foresight.worth.is_earned else foresight.made,
        seen=of.seen,
    )
    scorer = fit.judging
    return Tuned(trust, measured(fitting, scorer), measured(certifying, scorer) if certifying else None, foresight)


def refuse_few(examples: Sequence[Example]) -> None:
    """Raise CannotTune where there is too little to learn from."""
    scored = sum(example.evidence is not None and example.is_told for example in examples)
    if scored < FEWEST:
        raise CannotTune(
            f"{scored} graded questions whose draft can be scored are too few: {FEWEST} are the least, some thousands"
            " are good"
        )


def split(examples: Sequence[Example], wanted: Wanted) -> tuple[list[Example], list[Example]]:
    """The questions to fit on, and those to certify on, by a hash of their ids and the seed: the same question is
    always on the same side. What the grader could not tell of is not fitted on."""
    if wanted.promise is None:
        return [example for example in examples if example.is_told], []
    fitting: list[Example] = []
    certifying: list[Example] = []
    for example in examples:
        place = int.from_bytes(sha256(f"{wanted.seed} {example.id}".encode()).digest()[:8], "big") / 2**64
        if place < wanted.certify_share:
            certifying.append(example)
        elif example.is_told:
            fitting.append(example)
    return fitting, certifying


def kinds_of(fitting: Sequence[Example], certifying: Sequence[Example], wanted: Wanted) -> Kinds:
    """The kinds of request that are fitted and certified each for itself. Raises CannotTune."""
    try:
        if wanted.clusters is not None:
            return by_words(fitting, certifying, wanted.clusters, seed=wanted.seed)
        return by_task(fitting, certifying) if wanted.by_task else Kinds()
    except CannotFit as wrong:
        raise CannotTune(f"--clusters: {wrong}") from wrong


@dataclass(frozen=True, slots=True)
class Certification:
    """What is promised for each kind of request, and of which questions."""

    promised: Promised
    split: Split
    on: date


def certification_of(
    fitting: Sequence[Example], certifying: Sequence[Example], of: Of, wanted: Wanted, ledger: Path, clusters: int
) -> Certification | None:
    """The questions are claimed here, for what all that is fitted follows from. Raises CannotTune, or BadLedger."""
    if wanted.promise is None:
        return None
    promise, today = wanted.promise, datetime.now(UTC).date()
    purpose = sha256(repr((of, wanted, [example.id for example in fitting])).encode()).hexdigest()
    grader = wanted.audit_grader if wanted.loss == "disagreement" else of.grader
    try:
        delta = delta_of_cluster(promise.delta, clusters)
        promised = Promised(wanted.loss, grader, promise.epsilon, delta, promise.max_age_days)
        split = claim_split(ledger, [example.id for example in certifying], purpose=purpose, on=today)
    except CannotCertify as wrong:
        raise CannotTune(f"no certificate: {wrong}") from wrong
    return Certification(promised, split, split.on or today)


def fitted(
    fitting: Sequence[Example], certifying: Sequence[Example], wanted: Wanted, certification: Certification | None
) -> Fit:
    """How drafts like these are judged. Raises CannotTune."""
    base, confidences = base_of(fitting, wanted)
    try:
        calibration = fit_calibration(*labelled(fitting, confidences, wanted.confidence_of), seed=wanted.seed)
    except CannotCalibrate as wrong:
        raise CannotTune(str(wrong)) from wrong
    scorer = calibrated(base_scorer(base), calibration, wanted.confidence_of)
    seen = replace(measured(fitting, scorer), confidence=mapped(calibration, confidences))
    fit = Fit(
        scorer=base, calibration=calibration, confidence_of=wanted.confidence_of, threshold=1.0,
        questions=len(fitting), confidences=histogram_of(seen.confidence[seen.confidence >= 0].tolist()),
    )  # fmt: skip
    if certification is not None:
        fit = certified(fit, seen, certifying, certification, wanted)
    return chosen(fit, seen, wanted)


def fitted_kinds(kinds: Kinds, wanted: Wanted, certification: Certification | None) -> Mapping[str, Fit]:
    """Each kind of request's, by its name. Raises CannotTune, which says of which kind."""
    fits = {}
    for name, parts in kinds.parts.items():
        try:
            fits[name] = fitted(*parts, wanted, certification)
        except CannotTune as wrong:
            raise CannotTune(f"of the kind {name!r}: {wrong}") from wrong
    return fits


def base_of(examples: Sequence[Example], wanted: Wanted) -> tuple[Logistic | Fixed, Floats]:
    """The scorer, and its own confidence in each draft (-1 where it has none): a fitted one's by a fit that has not
    seen the question. Raises CannotTune."""
    if wanted.scorer is not None:
        fixed = Fixed(name=wanted.scorer)
        return fixed, measured(examples, base_scorer(fixed)).confidence
    usable = [example for example in examples if example.evidence is not None]
    reader = None if wanted.answer_by is None else grader_of(wanted.answer_by)
    rows = [features_of(one.evidence, wanted.features, reader) for one in usable if one.evidence is not None]
    labels = np.array([label_of(example, wanted.confidence_of) for example in usable])
    confidences = np.full(len(examples), NEVER)
    try:
        logistic = fit_logistic(rows, labels, wanted.features, seed=wanted.seed)
        unseen = cross_fitted(rows, labels, wanted.features, seed=wanted.seed)
    except CannotFit as wrong:
        raise CannotTune(str(wrong)) from wrong
    confidences[[example.evidence is not None for example in examples]] = unseen
    return logistic.model_copy(update={"answer_by": wanted.answer_by if logistic.reads_text else None}), confidences


def label_of(example: Example, confidence_of: ConfidenceOf) -> bool:
    """What the confidence is to be the probability of."""
    return example.draft_right if confidence_of == "right" else not example.regret


def labelled(
    examples: Sequence[Example], confidences: Floats, confidence_of: ConfidenceOf
) -> tuple[Floats, NDArray[np.bool_]]:
    """The confidences of drafts that have one, and what they should have told."""
    usable = confidences >= 0
    labels = np.array([label_of(example, confidence_of) for example in examples])
    return confidences[usable], labels[usable]


def measured(examples: Sequence[Example], scorer: Scorer) -> Measured:
    """The examples as the scorer sees them."""
    return Measured(
        confidence=confidences([example.evidence for example in examples], scorer),
        draft_right=np.array([example.draft_right for example in examples]),
        final_right=np.array([example.final_right for example in examples]),
        draft_cost=np.array([example.draft_cost for example in examples]),
        final_cost=np.array([example.final_cost for example in examples]),
    )


def mapped(calibration: Calibration, confidences: Floats) -> Floats:
    """Through the calibration; what had no confidence has none."""
    return np.array([calibration.probability(float(one)) if one >= 0 else NEVER for one in confidences])


def certified(
    fit: Fit, seen: Measured, certifying: Sequence[Example], certification: Certification, wanted: Wanted
) -> Fit:
    """The fit with a certificate, or with why there is none. Raises CannotTune."""
    drawn = measured(certifying, fit.judging)
    lost = np.array([example.loss(certification.promised.loss) for example in certifying])
    judged = drawn.confidence >= 0
    try:
        grid = np.ceil(grid_of(seen.confidence[seen.confidence >= 0]) * PRINTED) / PRINTED
        tried = tried_at(grid, drawn.confidence[judged], lost[judged]) if judged.any() else none_accepted(grid)
    except CannotCertify as wrong:
        raise CannotTune(f"no certificate: {wrong}") from wrong
    of_all = replace(tried, questions=len(certifying))
    found = certify(of_all, certification.promised, certification.split, on=certification.on)
    if isinstance(found, Infeasible):
        return fit.model_copy(update={"infeasible": found.message})
    return fit.model_copy(update={"certificate": watchable(found, certifying, drawn, wanted.audit_grader)})


def none_accepted(grid: Floats) -> Tried:
    """What thresholds accept where no draft to certify on can be scored."""
    none = np.zeros(len(grid), dtype=np.int64)
    return Tried(grid, none, none, 0)


def watchable(
    certificate: Certificate, certifying: Sequence[Example], drawn: Measured, audit_grader: str
) -> Certificate:
    """With what audits can watch where they cannot see regret: how often accepted drafts are, at most, not what the
    final tier says, by Clopper and Pearson's upper limit at the same delta."""
    if certificate.loss == "disagreement":
        return certificate
    apart = ~np.array([example.agrees for example in certifying]) & (drawn.confidence >= certificate.threshold)
    most = least_epsilon(int(apart.sum()), len(certifying), certificate.delta)
    return certificate.model_copy(update={"audited_by": audit_grader, "disagreement": most})


def chosen(fit: Fit, seen: Measured, wanted: Wanted) -> Fit:
    """The fit with the threshold of mode `threshold`. Raises CannotTune."""
    if wanted.threshold is not None:
        return fit.model_copy(update={"threshold": wanted.threshold})
    if wanted.target is None:
        certified = fit.certificate.threshold if fit.certificate is not None else 1.0
        return fit.model_copy(update={"threshold": certified})
    threshold = threshold_for(seen, wanted.target)
    if threshold is None:
        raise CannotTune(f"no threshold reaches {wanted.target.aim} {wanted.target.share:g} on these questions")
    return fit.model_copy(update={"threshold": threshold})


def foresighted(fitting: Sequence[Example], embedding: Embedding | None, wanted: Wanted) -> Foresighted:
    """The score of prompts before there is a draft. Raises CannotTune."""
    if not any(example.asked for example in fitting):
        raise CannotTune("--skip: the questions have no prompts whose words could be read")
    try:
        return foresight_of(fitting, embedding, seed=wanted.seed)
    except CannotFit as wrong:
        raise CannotTune(f"--skip: {wrong}") from wrong


def gate_of(examples: Sequence[Example], fit: Fit, sizes: Sequence[int]) -> Gate | None:
    """The gate for the fit's threshold."""
    scorer = fit.judging
    if not sizes or scorer.running is None:
        return None
    seen = [
        Seen(example.evidence.tokens, scorer.confidence(scorer.score(example.evidence)) >= fit.threshold)
        for example in examples
        if example.evidence is not None and example.streams
    ]
    return fit_gate(seen, scorer, fit.threshold, sizes)
