"""An evaluation as one page that needs nothing else, and as JSON."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from router.lab.evaluation import MEASURES, Evaluated, Evaluation, MeasureName, Operating
from router.lab.measures import BINS
from router.lab.plots import areas, cost_quality, recovered_gap, reliability
from router.lab.resampling import Interval

KIND = "smallfirst-evaluation-1"
NONE = "–"
RISING: tuple[MeasureName, ...] = ("apgr", "auroc_right", "auroc_gain")


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: the files' names, how many of their questions could not be compared, and what a reader should
    mind."""

    files: tuple[str, ...]
    left_out: int
    notes: tuple[str, ...]


def page(evaluation: Evaluation, read: Read) -> str:
    """HTML."""
    template = environment().get_template("report.html.jinja")
    drafter, final = evaluation.tiers[:2]
    return template.render(
        title=f"{drafter.name} first, {final.name} where it helps",
        evaluation=evaluation,
        files=read.files,
        left_out=read.left_out,
        notes=[*read.notes, *notes_of(evaluation)],
        headlines=headlines(evaluation),
        measures=MEASURES,
        bins=BINS,
        has_own=any(one.own for one in evaluation.policies),
        areas=areas(evaluation),
        cost_quality=cost_quality(evaluation),
        recovered_gap=recovered_gap(evaluation),
        reliability=reliability(evaluation),
    )


def environment() -> Environment:
    """The template's, with how figures are written."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=lambda count: f"{count:,}", percent=percent, decimal=decimal, interval=interval, difference=difference,
        percents=percents, threshold=threshold, points=points, verdict=verdict,
    )  # fmt: skip
    return found


def percent(share: float | None) -> str:
    """With one digit."""
    return NONE if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def decimal(value: float) -> str:
    """With three digits."""
    return NONE if math.isnan(value) else f"{value:.3f}"


def interval(one: Interval) -> Markup:
    """A figure, and its ends below it."""
    return with_ends(decimal(one.estimate), decimal(one.low), decimal(one.high))


def difference(one: Interval) -> Markup:
    """The same, with signs."""
    return with_ends(*(NONE if math.isnan(end) else f"{end:+.3f}" for end in (one.estimate, one.low, one.high)))


def verdict(one: Interval, name: MeasureName) -> str:
    """Whether a difference in this measure is one for sure, and which way."""
    if not one.excludes_zero:
        return ""
    return "better" if (one.low > 0) == (name in RISING) else "worse"


def percents(one: Interval) -> Markup:
    """The same, of shares."""
    return with_ends(percent(one.estimate), percent(one.low), percent(one.high))


def with_ends(estimate: str, low: str, high: str) -> Markup:
    """In small letters below."""
    if low == NONE:
        return Markup("{}").format(estimate)
    return Markup("{}<br><small>{} to {}</small>").format(estimate, low, high)


def threshold(value: float) -> str:
    """Where none accepts anything, in words."""
    return f"{value:.4g}" if math.isfinite(value) else "accept none"


def points(one: Evaluated) -> Iterator[tuple[str, Operating | None]]:
    """The rows of a policy, and what those after the first are."""
    yield "", one.keeping
    yield from one.own.items()


def headlines(evaluation: Evaluation) -> Iterator[str]:
    """What the figures say, in a sentence or two."""
    drafter, final = evaluation.tiers[:2]
    if evaluation.at_random.final_right <= evaluation.at_random.draft_right:
        yield f"On these questions {final.name} is no better than {drafter.name}: there is nothing to escalate for."
        return
    kept = [one for one in evaluation.policies if one.keeping is not None]
    if kept:
        best = min(kept, key=cost_kept)
        yield kept_sentence(best, evaluation)
    surest = max(evaluation.policies, key=lambda one: one.measures["apgr"].estimate)
    yield difference_sentence(surest, evaluation)


def cost_kept(one: Evaluated) -> float:
    """What keeping the quality costs."""
    return math.inf if one.keeping is None else one.keeping.point.cost


def kept_sentence(best: Evaluated, evaluation: Evaluation) -> str:
    """The cheapest way to keep the quality, beside chance."""
    at, final = best.keeping, evaluation.tiers[1].name
    if at is None or at.point.cost >= 1:
        return f"No policy keeps {percent(evaluation.wanted.quality_kept)} of {final}'s right answers for less than it."
    return (
        f"By “{best.name}”, escalating {percent(at.point.escalated)} of requests keeps {percent(at.kept)} of {final}'s"
        f" right answers at {percent(at.point.cost)} of its cost. That is {percent(at.point.quality)} right; escalating"
        f" as many at random would have {percent(at.control.quality.estimate)}."
    )


def difference_sentence(surest: Evaluated, evaluation: Evaluation) -> str:
    """Whether the policy with the most area may be called better than the baseline."""
    area = surest.measures["apgr"]
    told = f"Drafts are best ordered by “{surest.name}”, which recovers {percent(area.estimate)} of the gap on average"
    if not surest.differences:
        return f"{told}."
    over = surest.differences["apgr"]
    sure = "more than" if over.low > 0 else "not surely more than"
    return f"{told}, {sure} “{evaluation.baseline}” (by {over.estimate:.3f}, {over.low:.3f} to {over.high:.3f})."


def notes_of(evaluation: Evaluation) -> Iterator[str]:
    """What would mislead a reader who did not know it."""
    for tier in evaluation.tiers:
        if len(tier.models) > 1:
            yield f"{tier.name} is several models ({', '.join(tier.models)}): the figures are of their mixture."
    if any(name.startswith(("agreement", "judge")) for name in evaluation.graded_by):
        yield "Right means what the grader says: by agreement with the final tier, or by a judge, not by a reference."
    for one in evaluation.policies:
        if one.before_generation:
            yield f"“{one.name}” decides before there is a draft, so an escalated request costs the final tier alone."


def as_json(evaluation: Evaluation, read: Read) -> bytes:
    """Everything but the page's words; what is not defined is null, and so is the threshold that accepts nothing."""
    return orjson.dumps(
        {"kind": KIND, "read": read, "evaluation": evaluation},
        option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
