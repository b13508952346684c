"""`smallfirst evaluate`: compares policies on recorded questions, without a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from rich.console import Console
from rich.table import Table

from router.lab.candidates import Candidate, artefact_candidates, asks_p_true, recorded_candidates
from router.lab.costs import CannotCost, Costs, Price, costs_of, price_of
from router.lab.evaluation import Evaluation, MeasureName, Wanted, evaluate, right_of
from router.lab.fitted_candidates import NothingToFit, fitted_candidates
from router.lab.outcomes import BadRecord, Recorded, read_outcomes
from router.lab.report import Read, as_json, decimal, headlines, page, percent, threshold
from router.lab.seen import mark_of, share_seen
from router.lab.selection import CannotEvaluate, Roles, usable
from router.trust import Trust, trust_of
from server.cli.console import WRONG_USE, complain

HELPER = "helper"
SHOWN: tuple[MeasureName, ...] = ("apgr", "auroc_right", "auroc_gain")


@dataclass(frozen=True, slots=True)
class Files:
    """What is read and written."""

    recorded: tuple[Path, ...]
    artefact: Path | None
    html: Path
    json: Path


@dataclass(frozen=True, slots=True)
class Choices:
    """Who plays which part (`helper` None: one of that name where there is one), what is fitted, and what answers
    cost."""

    draft: str
    final: str
    helper: str | None
    fits: bool
    prices: Mapping[str, Price]
    cost_ratio: float


def run_evaluate(files: Files, choices: Choices, wanted: Wanted) -> int:
    """Print the table, and write the page and the JSON; 2 where the files do not do."""
    try:
        recorded = [one for file in files.recorded for one in read_outcomes(file)]
        roles = roles_of(recorded, choices)
        questions = usable(recorded, roles)
        trust = None if files.artefact is None else read_trust(files.artefact)
        candidates = candidates_of(questions, roles, trust, fits=choices.fits)
        costs = costs_of(questions, roles.names, choices.prices, ratio=choices.cost_ratio)
        evaluation = evaluate(questions, roles, candidates, costs, wanted)
        read = Read(tuple(file.name for file in files.recorded), len(recorded) - len(questions),
                    tuple(notes_of(files, trust, questions, evaluation, costs)))  # fmt: skip
        files.html.write_text(page(evaluation, read), encoding="utf-8")
        files.json.write_bytes(as_json(evaluation, read))
    except NothingToFit as wrong:
        complain([f"--fit: {wrong}"])
        return WRONG_USE
    except (BadRecord, CannotCost, CannotEvaluate, OSError) as wrong:
        complain([str(wrong)])
        return WRONG_USE
    report(evaluation, read, files)
    return 0


def prices_of(written: Sequence[str]) -> Mapping[str, Price]:
    """`TIER=PRICE` each. Raises ValueError."""
    prices: dict[str, Price] = {}
    for one in written:
        tier, equals, price = one.partition("=")
        if not tier or not equals:
            raise ValueError(f"{one!r} is no TIER=PRICE")
        prices[tier] = price_of(price)
    return prices


def roles_of(recorded: Sequence[Recorded], choices: Choices) -> Roles:
    """The parts; a helper by the usual name plays where every question has its answer. Raises CannotEvaluate."""
    helper = choices.helper
    if len({choices.draft, choices.final, helper}) < 3:
        raise CannotEvaluate("--draft, --final and --helper are different tiers")
    if helper is None and recorded and all(HELPER in one.outputs for one in recorded):
        helper = HELPER
    return Roles(choices.draft, choices.final, helper)


def read_trust(file: Path) -> Trust:
    """The artefact. Raises CannotEvaluate or OSError."""
    try:
        return trust_of(file.read_bytes())
    except ValueError as wrong:
        raise CannotEvaluate(f"{file}: {wrong}") from wrong


def candidates_of(
    questions: Sequence[Recorded], roles: Roles, trust: Trust | None, *, fits: bool
) -> Sequence[Candidate]:
    """Every policy that the questions allow. Raises BadRecord or NothingToFit."""
    found = list(recorded_candidates(questions, roles))
    if trust is not None:
        found += artefact_candidates(questions, roles, trust)
    if fits:
        found += fitted_candidates(questions, roles, right_of(questions, roles.draft), right_of(questions, roles.final))
    return found


def notes_of(
    files: Files, trust: Trust | None, questions: Sequence[Recorded], evaluation: Evaluation, costs: Costs
) -> Iterator[str]:
    """What would make an artefact's figures mislead. Raises OSError."""
    if trust is None:
        return
    yield from flattered(files, trust, questions)
    if costs.p_true is None and asks_p_true(trust):
        yield "What asking for P(True) costs is not known in this unit, and not in the artefact's costs."
    if trust.verdict is not None:
        yield "The artefact's verdict is not asked here: in its band, the threshold decides."
    models = tuple(tier.models for tier in evaluation.tiers[:2])
    if models != tuple((tier.model,) for tier in (trust.tiers[0], trust.tiers[-1])):
        yield (
            "The artefact was made for " + " and ".join(tier.model for tier in trust.tiers) + ", not for these models."
        )


def flattered(files: Files, trust: Trust, questions: Sequence[Recorded]) -> Iterator[str]:
    """Whether the artefact knows these questions: by their words, however they were saved; one without a sketch of its
    own by the very file. Raises OSError."""
    share = share_seen(trust.seen, map(mark_of, questions))
    if share > 0:
        yield (
            f"The artefact was tuned on {percent(share)} of these questions: its figures are better here than they"
            " will be."
        )
    for file in () if trust.seen else files.recorded:
        with file.open("rb") as content:
            digest = file_digest(content, "sha256").hexdigest()
        if digest == trust.recorded:
            yield f"The artefact was tuned on {file.name} itself: its figures are better here than they will be."


def report(evaluation: Evaluation, read: Read, files: Files) -> None:
    """What people read at once."""
    console = Console(highlight=False, soft_wrap=True)
    left_out = f", {read.left_out} left out" if read.left_out else ""
    console.print(f"{evaluation.questions} questions{left_out}; costs {evaluation.cost_basis}", markup=False)
    tiers = [f"{tier.name} {percent(tier.right)}" for tier in evaluation.tiers]
    console.print(f"right: {', '.join(tiers)}, either tier {percent(evaluation.either)}", markup=False)
    console.print()
    console.print(orders_table(evaluation))
    console.print()
    console.print(costs_table(evaluation))
    console.print()
    for said in (*headlines(evaluation), *read.notes):
        console.print(said, markup=False)
    console.print(f"written: {files.html}, {files.json}", markup=False)


def orders_table(evaluation: Evaluation) -> Table:
    """How well each policy orders drafts, and how far its confidence is what it says."""
    table = table_with("policy", "APGR", "95 %", "AUROC right", "AUROC gain", "ECE")
    for one in evaluation.policies:
        area, *others = (one.measures[name] for name in SHOWN)
        table.add_row(one.name, decimal(area.estimate), f"{decimal(area.low)} to {decimal(area.high)}",
                      *(decimal(other.estimate) for other in others), decimal(one.ece))  # fmt: skip
    return table


def costs_table(evaluation: Evaluation) -> Table:
    """What it takes to keep the quality."""
    kept = percent(evaluation.wanted.quality_kept)
    table = table_with(f"to keep {kept}", "threshold", "escalated", "cost", "right", "at random")
    for one in evaluation.policies:
        if one.keeping is None:
            table.add_row(one.name, "none")
            continue
        point, chance = one.keeping.point, one.keeping.control.quality.estimate
        table.add_row(one.name, threshold(point.threshold), percent(point.escalated), percent(point.cost),
                      percent(point.quality), percent(chance))  # fmt: skip
    return table


def table_with(first: str, *others: str) -> Table:
    """An empty one."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right")
    return table
