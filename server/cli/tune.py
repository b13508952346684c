"""`smallfirst tune`: from recorded questions to the artefact that a cascade judges by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console
from rich.table import Table

from router.clusters import MOST_CLUSTERS
from router.features import TOKEN_FEATURES
from router.fitted import Logistic
from router.graders import GRADERS, REGEX, UnknownGrader, grader_of
from router.lab.cluster_fitting import FEWEST_GROUPS
from router.lab.examples import AGREEMENT, Example, examples_of
from router.lab.foresight import Foresighted
from router.lab.foresight_fitting import Worth
from router.lab.outcomes import BadRecord, read_outcomes
from router.lab.splits import BadLedger
from router.lab.targets import Aim, Effect, Target, effect_of
from router.lab.tuning import CannotTune, Of, Tuned, Wanted, tune
from router.scorers import ScorerName
from router.text_features import TEXT_FEATURES
from router.trust import Fit, OpinionPrint, Trust
from server.building import policy_of
from server.cli.answered_by import ASKING, Prints, asked_of, opinion_prints, opinions_in, whose
from server.cli.artefact_file import write_artefact
from server.cli.console import WRONG_USE, complain
from server.cli.embedding import CannotEmbed, embedding_by
from server.settings.cascade import CascadeSettings
from server.settings.reading import SettingsError, read_settings_to_tune
from server.settings.schema import Settings

GROUPS: Mapping[str, Sequence[str]] = {"tokens": tuple(TOKEN_FEATURES), "text": TEXT_FEATURES}
LEDGER = "splits.json"  # beside the questions, whatever artefact they are for
FIXED: tuple[ScorerName, ...] = get_args(ScorerName)


@dataclass(frozen=True, slots=True)
class Files:
    """What is read and written."""

    config: Path
    recorded: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Named:
    """The cascade that is tuned, the graders that compare audits and find answers, and the tier that embeds prompts,
    where the operator named them; else the first three are the configuration's, and there is no embedding."""

    cascade: str | None = None
    audit_grader: str | None = None
    answer_grader: str | None = None
    embeddings: str | None = None


def run_tune(files: Files, wanted: Wanted, named: Named, environment: Mapping[str, str]) -> int:
    """Write the artefact; 1 where the questions do not do, 2 where a file or option is wrong."""
    try:
        settings = read_settings_to_tune(files.config, environment)
        chosen = chosen_cascade(settings, named.cascade)
        wanted = replace(wanted, audit_grader=named.audit_grader or chosen.audits.grader)
        asked = asked_of(chosen, wanted)
        prints = Prints()
        recorded = prints.noted(read_outcomes(files.recorded), chosen.tiers[0])
        examples = examples_of(
            recorded, chosen.tiers, policy_of(chosen), grader_of(wanted.audit_grader), [*map(opinions_in, asked)],
            reads_tokens=wanted.reads_tokens,
        )  # fmt: skip
        if reads_text(wanted):
            wanted = replace(wanted, answer_by=reader_named(named.answer_grader, chosen, prints.grader))
        of = what_of(settings, chosen, prints, files.recorded, opinion_prints(settings, prints, asked))
        embedding = None
        if named.embeddings is not None:
            embedding = embedding_by(named.embeddings, settings, prints.fingerprint(whose(named.embeddings)))
        tuned = tune(examples, of, wanted, files.recorded.parent / LEDGER, embedding)
        write_artefact(tuned.trust, files.out)
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except (BadRecord, BadLedger, UnknownGrader, OSError) as wrong:
        complain([str(wrong)])
        return WRONG_USE
    except (CannotTune, CannotEmbed) as wrong:
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
    given = [name.strip() for name in names.split(",") if name.strip()]
    wanted = tuple(dict.fromkeys(one for name in given for one in GROUPS.get(name, (name,))))
    known = (*TOKEN_FEATURES, *TEXT_FEATURES, *ASKING)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ValueError(
            f"--features: there is no {', '.join(unknown) or 'name'} (there are: {', '.join((*GROUPS, *known))})"
        )
    return wanted


def reads_text(wanted: Wanted) -> bool:
    """Whether the scorer is to read drafts' texts."""
    return wanted.scorer is None and any(name in TEXT_FEATURES for name in wanted.features)


def reader_named(named: str | None, cascade: CascadeSettings, graded_by: str) -> str | None:
    """The grader that finds the final answer in a draft: the one that is named, else the one that compares answers with
    a helper's, else the one that graded the questions, where it is one that reads answers. Raises UnknownGrader."""
    compares = cascade.opinions.get(AGREEMENT)
    name = named or (compares.grader if compares is not None else None)
    if name is not None:
        grader_of(name)
        return name
    graded = graded_by.removeprefix("agreement:")
    return graded if graded in GRADERS or graded.startswith(REGEX) else None


def target_of(
    *, quality: float | None, escalated: float | None, cost: float | None, threshold: float | None
) -> Target | None:
    """The one of them that was given. Raises ValueError where more were."""
    given: list[tuple[Aim, float | None]] = [("quality", quality), ("escalated", escalated), ("cost", cost)]
    targets = [Target(aim, share) for aim, share in given if share is not None]
    if len(targets) + (threshold is not None) > 1:
        raise ValueError("give one of --quality, --escalated, --cost and --threshold")
    return targets[0] if targets else None


def clusters_named(clusters: str | None, *, by_task: bool) -> int | Literal["task"] | None:
    """Where words tell the kind of a request: the tasks that the questions name, or how many groups are to be found.
    Raises ValueError."""
    if clusters is None:
        return None
    if by_task:
        raise ValueError("give one of --by-task (requests name their task) and --clusters (their words tell it)")
    if clusters == "task":
        return "task"
    if not clusters.isdecimal() or not FEWEST_GROUPS <= int(clusters) <= MOST_CLUSTERS:
        raise ValueError(f"--clusters: `task`, or a number from {FEWEST_GROUPS} to {MOST_CLUSTERS}")
    return int(clusters)


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


def what_of(
    settings: Settings, cascade: CascadeSettings, prints: Prints, file: Path, asked: Mapping[str, OpinionPrint]
) -> Of:
    """What the questions are of. Raises BadRecord where several models answered under one name."""
    with file.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    return Of(
        tiers=tuple(prints.of(whose(name), settings.tiers[name].model) for name in cascade.tiers),
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
    if trust.words is not None:
        yield f"words tell {len(trust.words.centroids)} kinds of request, down to a likeness of {trust.words.floor:.3g}"
    for name, fit in (("all requests", trust.fit), *trust.clusters.items()):
        yield from fit_lines(name, fit)
    if trust.clusters and tuned.certified_on is not None:
        yield together(trust, len(tuned.certified_on.confidence))
    if tuned.foresight is not None:
        yield foresight_line(tuned.foresight)
    if trust.reads_text or trust.asks:
        yield "no gate: the scorer judges whole drafts, so streams are held"
    if trust.gate is not None:
        yield f"gate: for {', '.join(map(str, sorted(trust.gate.curves)))} first tokens"


def together(trust: Trust, questions: int) -> str:
    """What the certificates of all kinds come to; what has none escalates."""
    certificates = [one for cluster, one in trust.certificates.items() if cluster is not None]
    accepted, losses = sum(one.accepted for one in certificates), sum(one.losses for one in certificates)
    return (
        f"all kinds together: {accepted} drafts accepted under their certificates ({accepted / questions:.1%}), and"
        f" {losses} losses, of the {questions} questions to certify on"
    )


def foresight_line(foresight: Foresighted) -> str:
    """What a score before generation is worth."""
    worth, words = foresight.worth, foresight.of_words
    kept = "in the artefact" if worth.is_earned else "left out of the artefact: it has not earned its place"
    beside = f"; one of words gains {points(words)}" if words else ""
    return (
        f"skipping: on {foresight.questions} prompts that it had not seen, its order gains {points(worth)} of accuracy"
        f" over as many prompts skipped at random{beside}: {kept}"
    )


def points(worth: Worth) -> str:
    """In points, with its 95 % interval."""
    return f"{100 * worth.gain:+.2f} points ({100 * worth.low:+.2f} to {100 * worth.high:+.2f})"


def fit_lines(name: str, fit: Fit) -> Iterator[str]:
    """One kind of request."""
    scorer = "fitted" if isinstance(fit.scorer, Logistic) else fit.scorer.name
    yield f"{name}: scorer {scorer}, calibration {fit.calibration.kind}, confidence of {fit.confidence_of}"
    if isinstance(fit.scorer, Logistic):
        weights = zip(fit.scorer.names, fit.scorer.weights, strict=True)
        if fit.scorer.reads_text:
            yield f"  text features: final answers found by {fit.scorer.answer_by or 'nobody (--answer-grader)'}"
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
    if certificate is not None and certificate.watched is None:
        yield f"  audits by {certificate.audited_by} cannot watch it: no draft is like the final tier's answer by it"
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
