"""`smallfirst tune`: from recorded questions to the artefact that a cascade judges by."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from router.features import TOKEN_FEATURES
from router.fitted import Logistic
from router.graders import UnknownGrader, grader_of
from router.lab.examples import AGREEMENT, Example, Helper, examples_of
from router.lab.outcomes import BadRecord, Recorded, read_outcomes
from router.lab.recording import SEVERAL
from router.lab.seen import mark_of, sketch_of
from router.lab.splits import BadLedger
from router.lab.targets import Aim, Effect, Target, effect_of
from router.lab.tuning import CannotTune, Of, Tuned, Wanted, tune
from router.scorers import ScorerName
from router.trust import Fit, OpinionPrint, TierPrint, trust_written
from server.building import policy_of
from server.cli.console import WRONG_USE, complain
from server.settings.cascade import CascadeSettings
from server.settings.reading import SettingsError, read_settings_to_tune
from server.settings.schema import Settings

LEDGER = "splits.json"  # beside the questions, whatever artefact they are for
FIXED: tuple[ScorerName, ...] = get_args(ScorerName)


@dataclass(frozen=True, slots=True)
class Files:
    """What is read and written."""

    config: Path
    recorded: Path
    out: Path


def run_tune(
    files: Files, wanted: Wanted, *, cascade: str | None, audit_grader: str | None, environment: Mapping[str, str]
) -> int:
    """Write the artefact; 1 where the questions do not do, 2 where a file or option is wrong."""
    try:
        settings = read_settings_to_tune(files.config, environment)
        chosen = chosen_cascade(settings, cascade)
        wanted = replace(wanted, audit_grader=audit_grader or chosen.audits.grader)
        compared = compared_by(chosen, wanted)
        prints = Prints()
        recorded = prints.noted(read_outcomes(files.recorded))
        examples = examples_of(
            recorded, chosen.tiers, policy_of(chosen), grader_of(wanted.audit_grader), helper_of(compared),
            reads_tokens=wanted.reads_tokens,
        )  # fmt: skip
        of = what_of(settings, chosen, prints, files.recorded, asked_of(settings, prints, compared))
        tuned = tune(examples, of, wanted, files.recorded.parent / LEDGER)
        files.out.write_bytes(trust_written(tuned.trust))
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except (BadRecord, BadLedger, UnknownGrader, OSError) as wrong:
        complain([str(wrong)])
        return WRONG_USE
    except CannotTune as wrong:
        complain([str(wrong)])
        return 1
    report(tuned, examples)
    return 0


def scorer_named(name: str) -> ScorerName | None:
    """A fixed scorer; None for a fitted one. Raises ValueError."""
    if name == "fitted":
        return None
    found = next((known for known in FIXED if known == name), None)
    if found is None:
        raise ValueError(f"--scorer: there is no {name!r} (there are: fitted, {', '.join(FIXED)})")
    return found


def features_named(names: str | None) -> tuple[str, ...]:
    """The features; all that log-probabilities give, where none are named. Raises ValueError."""
    if names is None:
        return tuple(TOKEN_FEATURES)
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in (*TOKEN_FEATURES, AGREEMENT)]
    if unknown or not wanted:
        raise ValueError(
            f"--features: there is no {', '.join(unknown) or 'name'} (there are: {', '.join(TOKEN_FEATURES)})"
        )
    return wanted


def target_of(
    *, quality: float | None, escalated: float | None, cost: float | None, threshold: float | None
) -> Target | None:
    """The one of them that was given. Raises ValueError where more were."""
    given: list[tuple[Aim, float | None]] = [("quality", quality), ("escalated", escalated), ("cost", cost)]
    targets = [Target(aim, share) for aim, share in given if share is not None]
    if len(targets) + (threshold is not None) > 1:
        raise ValueError("give one of --quality, --escalated, --cost and --threshold")
    return targets[0] if targets else None


def sizes_of(sizes: str) -> tuple[int, ...]:
    """Numbers of first tokens. Raises ValueError."""
    try:
        wanted = sorted({int(size) for size in sizes.split(",") if size.strip()})
    except ValueError as wrong:
        raise ValueError("--gate-sizes: numbers with commas between them are wanted") from wrong
    if wanted and wanted[0] < 1:
        raise ValueError("--gate-sizes: a gate has one token at least")
    return tuple(wanted)


def chosen_cascade(settings: Settings, name: str | None) -> CascadeSettings:
    """The cascade of that name, or the only one; it has one drafter. Raises SettingsError."""
    names = ", ".join(settings.cascades) or "none"
    if name is None and len(settings.cascades) != 1:
        raise SettingsError([f"say which cascade is tuned with --cascade (there are: {names})"])
    found = settings.cascades.get(name or next(iter(settings.cascades)))
    if found is None:
        raise SettingsError([f"--cascade: there is no {name!r} (there are: {names})"])
    if len(found.tiers) > 2:
        raise SettingsError(["an artefact judges the drafts of one drafter: a cascade of two tiers is wanted"])
    return found


class Prints:
    """Who answered under each tier's name, and to which questions."""

    def __init__(self) -> None:
        self._models: defaultdict[str, set[str]] = defaultdict(set)
        self._fingerprints: defaultdict[str, set[str]] = defaultdict(set)
        self._graders: set[str] = set()
        self._marks: set[str] = set()

    def noted(self, recorded: Iterable[Recorded]) -> Iterator[Recorded]:
        """The questions as they are."""
        for one in recorded:
            self._graders.add(one.graded_by or "unnamed")
            self._marks.add(mark_of(one))
            for tier, output in one.outputs.items():
                self._models[tier].add(output.model)
                if output.fingerprint is not None:
                    self._fingerprints[tier].add(output.fingerprint)
            yield one

    @property
    def grader(self) -> str:
        """What told which answers are right."""
        return " and ".join(sorted(self._graders))

    @property
    def questions(self) -> str:
        """A sketch of the questions."""
        return sketch_of(self._marks)

    def of(self, tier: str, model: str) -> TierPrint:
        """The one model of that name. Raises BadRecord where it is another, or several."""
        models, fingerprints = self._models[tier] | {model}, self._fingerprints[tier]
        if len(models) > 1 or len(fingerprints) > 1 or any(SEVERAL in one for one in fingerprints):
            several = " from several servers that are not alike" if len(models) == 1 else ""
            raise BadRecord(
                f"tier {tier!r} was recorded with {' and '.join(sorted(self._models[tier]))}{several}, and the"
                f" configuration has {model}: record it again, from one"
            )
        return TierPrint(model=model, fingerprint=next(iter(fingerprints), None))


def compared_by(cascade: CascadeSettings, wanted: Wanted) -> tuple[str, str] | None:
    """The tier whose answers drafts are compared with, and the grader's name, where the scorer reads that. Raises
    SettingsError."""
    if AGREEMENT not in wanted.features or wanted.scorer is not None:
        return None
    asked = cascade.opinions.get(AGREEMENT)
    if asked is None or asked.tier is None or asked.grader is None:
        raise SettingsError(["--features: agreement needs a helper: name its tier in the cascade's opinions.agreement"])
    return asked.tier, asked.grader


def helper_of(compared: tuple[str, str] | None) -> Helper | None:
    """As the lab asks it."""
    return None if compared is None else Helper(compared[0], grader_of(compared[1]))


def asked_of(settings: Settings, prints: Prints, compared: tuple[str, str] | None) -> Mapping[str, OpinionPrint]:
    """Who answered the questions about drafts that are fitted on. Raises BadRecord where that was another model."""
    if compared is None:
        return {}
    tier, grader = compared
    helper = prints.of(tier, settings.tiers[tier].model)
    return {AGREEMENT: OpinionPrint(model=helper.model, grader=grader, fingerprint=helper.fingerprint)}


def what_of(
    settings: Settings, cascade: CascadeSettings, prints: Prints, file: Path, asked: Mapping[str, OpinionPrint]
) -> Of:
    """What the questions are of. Raises BadRecord where several models answered under one name."""
    with file.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    return Of(
        tiers=tuple(prints.of(name, settings.tiers[name].model) for name in cascade.tiers),
        opinions=asked,
        checks=cascade.checks,
        on_missing_evidence=cascade.on_missing_evidence,
        grader=prints.grader,
        recorded=digest,
        seen=prints.questions,
    )


def report(tuned: Tuned, examples: Sequence[Example]) -> None:
    """What was fitted, and what it does."""
    console = Console(highlight=False, soft_wrap=True)
    for line in lines_of(tuned, examples):
        console.print(line, markup=False)
    console.print(effects_table(tuned))


def lines_of(tuned: Tuned, examples: Sequence[Example]) -> Iterator[str]:
    """In sentences."""
    trust = tuned.trust
    judged = sum(example.evidence is not None for example in examples)
    fitted_on = len(tuned.fitted_on.confidence)
    yield f"{len(examples)} questions, of which {judged} drafts can be scored; {fitted_on} fitted on"
    untold = sum(not example.is_told for example in examples)
    if untold:
        yield f"{untold} are not graded: they are not fitted on, and count as losses in a certificate"
    for tier in trust.tiers:
        if tier.fingerprint is None:
            yield f"{tier.model}: its server does not say what it is, so that another one there would not be noticed"
    for name, fit in (("all requests", trust.fit), *trust.clusters.items()):
        yield from fit_lines(name, fit)
    if trust.gate is not None:
        yield f"gate: for {', '.join(map(str, sorted(trust.gate.curves)))} first tokens"


def fit_lines(name: str, fit: Fit) -> Iterator[str]:
    """One kind of request."""
    scorer = "fitted" if isinstance(fit.scorer, Logistic) else fit.scorer.name
    yield f"{name}: scorer {scorer}, calibration {fit.calibration.kind}, confidence of {fit.confidence_of}"
    if isinstance(fit.scorer, Logistic):
        weights = zip(fit.scorer.names, fit.scorer.weights, strict=True)
        yield "  weights: " + ", ".join(f"{name} {weight:+.3g}" for name, weight in weights if weight)
    certificate = fit.certificate
    if certificate is not None:
        yield (
            f"  certified: {certificate.loss} <= {certificate.epsilon:g} with probability {1 - certificate.delta:g},"
            f" at threshold {certificate.threshold:g}: {certificate.losses} losses and {certificate.accepted} accepted"
            f" drafts among {certificate.questions} questions; until {certificate.expires_on}"
        )
    if certificate is not None and certificate.watched is not None:
        grader, share = certificate.watched
        yield f"  audits by {grader} watch it: at most {share:.3g} are accepted and unlike the final tier's answer"
    if fit.infeasible is not None:
        yield f"  infeasible: {fit.infeasible}"


def effects_table(tuned: Tuned) -> Table:
    """What the thresholds do to the questions of both parts."""
    table = Table(box=None, pad_edge=False)
    for heading in ("questions", "threshold", "accepted", "right", "of the final tier's", "regret", "cost"):
        table.add_column(heading, justify="left" if heading == "questions" else "right")
    fit = tuned.trust.fit
    table.add_row(*row("fitted on", effect_of(tuned.fitted_on, fit.threshold)))
    if tuned.certified_on is not None and fit.certificate is not None:
        table.add_row(*row("certified on", effect_of(tuned.certified_on, fit.certificate.threshold)))
    return table


def row(name: str, effect: Effect) -> Sequence[str]:
    """In percent."""
    return (
        name, f"{effect.threshold:g}", percent(effect.accepted), percent(effect.right), percent(effect.kept),
        percent(effect.regret), percent(effect.cost),
    )  # fmt: skip


def percent(share: float | None) -> str:
    """A share."""
    return "-" if share is None else f"{share:.1%}"
