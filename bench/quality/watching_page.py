"""The figures as a page for people. Pure."""

from collections.abc import Iterable, Iterator

DELAY = ("median", "nine of ten within")
SHARES = ("before", "after", "worst_settled", "fixed_threshold_after")
WAYS = ("budget", "least_sure", "random")


def page(figures: dict) -> str:
    """All of it, in Markdown."""
    parts = [*opening(figures), *alarm(figures["alarm"])]
    if "budget" in figures:
        parts += budget(figures["budget"])
    return "\n".join(parts) + "\n"


def opening(figures: dict) -> Iterator[str]:
    """What this is, and what holds."""
    yield "# The alarm and the budget\n"
    yield "By `python bench/quality/watching.py --data FOLDER`, simulated and from recorded outcomes.\n"
    yield from table(("claim", "holds"), ((claim, "yes" if holds else "**no**") for claim, holds in
                                          figures["claims"].items()))  # fmt: skip
    yield "\n![The evidence of an alarm, and the share under a budget](watching.png)"


def alarm(figures: dict) -> Iterator[str]:
    """Delays and false alarms."""
    yield f"\n## The alarm\n\nEpsilon {figures['epsilon']:g}, alpha {figures['alpha']:g}. A loss is per request, an"
    yield "audit is of an accepted draft. 2,000 streams each.\n"
    yield "Audits until the alarm, where the loss is raised from the start:\n"
    yield from table(("accepted", "audited of these", "loss", *DELAY), map(delay, figures["noticed"]))
    yield "\nThe same where it rises after so many quiet audits, at half of epsilon. A test whose error is bounded over"
    yield "all time pays for not having known when:\n"
    rows = ((*delay(one), f"{one['quiet']:,}", f"{one['false_before']} of 2,000") for one in figures["late"])
    yield from table(("accepted", "audited of these", "loss", *DELAY, "quiet audits", "false alarms in these"), rows)
    yield "\nStreams whose loss is epsilon exactly, 60,000 requests each:\n"
    yield from table(("accepted", "audited of these", "streams", "alarms"), map(clean, figures["clean"]))


def delay(one: dict) -> tuple[str, ...]:
    """A row."""
    audits = (f"{one[name]:,.0f}" for name in ("median", "of_ten_nine"))
    return (percent(one["accepted"]), percent(one["rate"]), f"{one['loss']:g}", *audits)


def clean(one: dict) -> tuple[str, ...]:
    """A row."""
    alarms = f"{one['alarms']} ({one['alarms'] / one['runs']:.1%})"
    return percent(one["accepted"]), percent(one["rate"]), f"{one['runs']:,}", alarms


def budget(figures: dict) -> Iterator[str]:
    """Shares, and what they are worth."""
    yield "\n## The budget\n\n5,000 requests of one corpus and then 5,000 of another (yes/no filters, Llama-3.1-8B"
    yield f"before Llama-3.3-70B). Points off the target, the worst of {figures['seeds']} orders; beside it, in the"
    yield "second half, a threshold that was fixed to hold the target in the first. Settled: any 1,000 requests in a"
    yield "row, from 500 after the start or the change on.\n"
    yield from table(
        ("from", "to", "target", "before", "after", "settled, worst", "fixed threshold, after"),
        ((*change(row), *(points(row[name]) for name in SHARES)) for row in figures["rows"]),
    )
    yield "\nRight answers (the large model's label is the reference) under the budget, with as many of the least sure"
    yield "escalated in each half, which knows the future, and with as many at random:\n"
    yield from table(
        ("from", "to", "target", "budget", "least sure", "random"),
        ((*change(row), *(f"{row['right'][name]:.1%}" for name in WAYS)) for row in figures["rows"]),
    )
    same, other = figures["drift"]["same"], figures["drift"]["other"]
    yield "\n## Drift\n"
    yield f"Windows of 1,000 confidences against a histogram of 500: {same[0]} of {same[1]} of the same corpus count as"
    yield f"drifted, and {other[0]} of {other[1]} of another one."


def change(row: dict) -> tuple[str, ...]:
    """From what to what, at which target."""
    return row["from"], row["to"], percent(row["target"])


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """In Markdown."""
    titles = tuple(titles)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def percent(share: float) -> str:
    """As such."""
    return f"{share:.0%}"


def points(off: float) -> str:
    """Of a hundred, with the sign."""
    return f"{100 * off:+.1f}"
