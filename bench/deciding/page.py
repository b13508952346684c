"""The results, what they come to, and the page that shows them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import linear_regression, median, quantiles

from bench.rig.machine import in_words

JSON, READ, FOLDED, CHECKED = "JSON", "read", "folded", "checked"
STEPS = (JSON, READ, FOLDED, CHECKED)
TARGET_US, TARGET_TOKENS = 60, 200
FROM_TOKENS = 200  # below, what any draft costs shows
RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of draft of so many tokens: CPU microseconds of each step, round by round. Reading is with the JSON's
    parsing, and judging, which bears a scorer's name, with the checks."""

    kind: str
    tokens: int
    took_us: Mapping[str, list[float]]

    @property
    def scorers(self) -> list[str]:
        """Those that judged it."""
        return [name for name in self.took_us if name not in STEPS]

    @property
    def reading(self) -> list[float]:
        """What reading takes beyond the JSON."""
        return [late - early for late, early in zip(self.took_us[READ], self.took_us[JSON], strict=True)]

    def deciding(self, scorer: str) -> list[float]:
        """All that is done for a decision, beyond parsing the JSON."""
        return [*map(sum, zip(self.reading, self.took_us[FOLDED], self.took_us[scorer], strict=True))]


@dataclass(frozen=True, slots=True)
class Result:
    """A run; `worst` names the kinds that are meant to be slow."""

    machine: dict[str, object]
    rounds: int
    cases: Sequence[Case]
    worst: Sequence[str]

    def of_kind(self, kind: str) -> list[Case]:
        """By size."""
        return [case for case in self.cases if case.kind == kind]

    @property
    def ordinary(self) -> list[str]:
        """The other kinds, in their order."""
        return [kind for kind in dict.fromkeys(case.kind for case in self.cases) if kind not in self.worst]


@dataclass(frozen=True, slots=True)
class Growth:
    """How a cost grows with the tokens. A line through the medians, which minimises relative errors: microseconds for
    any draft and for each token, and how far the medians are from it at most, as a share. The exponent of the tokens in
    the largest drafts' cost, 1 if that is linear, with its 95 % interval (bootstrap over the rounds); and what a token
    costs in the largest draft, as a ratio to one in a draft of 400."""

    any_us: float
    token_us: float
    furthest: float
    exponent: float
    interval: tuple[float, float]
    ratio: float


def growth(costs: Mapping[int, Sequence[float]]) -> Growth:
    """Of microseconds, round by round, by the number of tokens."""
    sizes = [*costs]
    medians = [median(costs[size]) for size in sizes]
    # least squares of a / y + b * (n / y) = 1: a line whose errors are relative to y
    inverse, scaled = [1 / cost for cost in medians], [size / cost for size, cost in zip(sizes, medians, strict=True)]
    any_us, token_us = solved(inverse, scaled)
    shares = [(any_us + token_us * size) / cost - 1 for size, cost in zip(sizes, medians, strict=True)]
    large = {size: costs[size] for size in sizes if size >= FROM_TOKENS}
    drawn = random.Random(7)
    resampled = [exponent_of(drawn_again(large, drawn)) for _ in range(RESAMPLED)]
    low, *_, high = quantiles(resampled, n=40)
    ratio = medians[-1] / sizes[-1] / (medians[sizes.index(400)] / 400)
    return Growth(any_us, token_us, max(map(abs, shares)), exponent_of(large), (low, high), ratio)


def drawn_again(costs: Mapping[int, Sequence[float]], drawn: random.Random) -> dict[int, list[float]]:
    """As many rounds, with replacement."""
    count = min(map(len, costs.values()))
    rounds = drawn.choices(range(count), k=count)
    return {size: [cost[number] for number in rounds] for size, cost in costs.items()}


def exponent_of(costs: Mapping[int, Sequence[float]]) -> float:
    """The slope of a line through the medians' logarithms."""
    return linear_regression([*map(log, costs)], [log(median(cost)) for cost in costs.values()]).slope


def solved(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The a and b for which a * first + b * second is nearest to 1."""
    aa, ab, bb = (sum(x * y for x, y in zip(one, other, strict=True)) for one, other in (
        (first, first), (first, second), (second, second)
    ))  # fmt: skip
    a1, b1 = sum(first), sum(second)
    of_all = aa * bb - ab * ab
    return (a1 * bb - b1 * ab) / of_all, (b1 * aa - a1 * ab) / of_all


def page(result: Result) -> str:
    """For a reader."""
    parts = [
        "# What deciding on a draft costs",
        "",
        "Written by `python bench/deciding/run.py`. " + in_words(result.machine) + ".",
        f"CPU time of one thread, in µs: medians of {result.rounds} rounds in which all drafts and steps take turns,",
        "each on what the step before made of the same draft. A whole reply as vLLM sends it goes in, a decision comes",
        "out. The JSON is parsed by orjson in any case, and timed alone in the same round; **deciding** is all beyond",
        "that: reading and checking the reply's columns, folding them, all five checks, the evidence, the score and",
        "the threshold. Python looks for garbage as seldom as in the gateway.",
        "",
        "![Deciding by the number of tokens](result.png)",
    ]
    for kind in result.ordinary:
        parts += ["", f"## Ordinary text, {kind}", "", *costs_table(result.of_kind(kind))]
        parts += ["", *growth_table(result.of_kind(kind))]
    parts += ["", "## The worst texts, scored by mean-logprob", ""]
    parts += [
        "Deciding in µs by the number of tokens, of it the checks. The search for loops reads the last 4,000",
        "characters alone. A draft that fails a check is not scored.",
        "",
        *worst_table(result),
        "",
        *verdicts(result),
    ]
    return "\n".join(parts) + "\n"


def costs_table(cases: Sequence[Case]) -> Iterator[str]:
    """The steps, and deciding by scorer."""
    scorers = cases[0].scorers
    columns = ("tokens", "JSON alone", "reading", "folding", "checks", *(f"deciding, {name}" for name in scorers))
    yield f"| {' | '.join(columns)} |"
    yield "|--:" * len(columns) + "|"
    for case in cases:
        steps = (case.took_us[JSON], case.reading, case.took_us[FOLDED], case.took_us[CHECKED])
        cells = [*map(median, steps), *(median(case.deciding(name)) for name in scorers)]
        yield f"| {case.tokens:,} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"


def growth_table(cases: Sequence[Case]) -> Iterator[str]:
    """How deciding grows, by scorer."""
    yield (
        "| scorer | µs for any draft | µs a token | furthest from that line | exponent from"
        f" {FROM_TOKENS} tokens (95 % interval) | a token of {cases[-1].tokens:,} to one of 400 |"
    )
    yield "|---|--:|--:|--:|--:|--:|"
    for scorer in cases[0].scorers:
        found = growth({case.tokens: case.deciding(scorer) for case in cases})
        low, high = found.interval
        yield (
            f"| {scorer} | {found.any_us:.1f} | {found.token_us:.3f} | {100 * found.furthest:.0f} % |"
            f" {found.exponent:.3f} ({low:.3f} to {high:.3f}) | {found.ratio:.2f} |"
        )


def worst_table(result: Result) -> Iterator[str]:
    """Each text that is meant to be slow, beside ordinary text."""
    sizes = [case.tokens for case in result.of_kind(result.worst[0])]
    yield f"| text | {' | '.join(f'{size:,}' for size in sizes)} | most a token, to ordinary text |"
    yield "|---" + "|--:" * (len(sizes) + 1) + "|"
    ordinary = {case.tokens: median(case.deciding("mean-logprob")) for case in result.of_kind(result.ordinary[0])}
    for kind in result.worst:
        cases = result.of_kind(kind)
        costs = [(median(case.deciding("mean-logprob")), median(case.took_us[CHECKED])) for case in cases]
        cells = [f"{whole:.0f} ({checks:.0f})" for whole, checks in costs]
        most = max(whole / ordinary[case.tokens] for case, (whole, _) in zip(cases, costs, strict=True))
        yield f"| {kind} | {' | '.join(cells)} | {most:.2f} |"


def verdicts(result: Result) -> Iterator[str]:
    """The target, by scorer."""
    yield f"Wished for: at most {TARGET_US} µs for a draft of {TARGET_TOKENS} tokens."
    yield ""
    for kind in result.ordinary:
        case = next(one for one in result.of_kind(kind) if one.tokens == TARGET_TOKENS)
        for scorer in case.scorers:
            took_us = median(case.deciding(scorer))
            missed = f"missed by {took_us - TARGET_US:.1f} µs" if took_us > TARGET_US else "met"
            json_us = median(case.took_us[JSON])
            yield f"- {scorer}: {missed}: {took_us:.1f} µs; parsing the JSON takes {json_us:.1f} µs beside that."
