"""The figures as a page for people. Pure."""

from collections.abc import Iterator, Sequence

from watching_page import percent, table

STREAMS = ("all accepted", "half accepted", "a fifth accepted")


def page(figures: dict) -> str:
    """All of it, in Markdown."""
    parts = [*opening(figures), *false(figures["simulated"]), *needed(figures["simulated"])]
    if "recorded" in figures:
        parts += recorded(figures["recorded"]["rows"])
    return "\n".join(parts) + "\n"


def opening(figures: dict) -> Iterator[str]:
    """What this is, and what holds."""
    yield "# Renewal from audits\n"
    yield "By `python bench/quality/renewed.py --data FOLDER`, simulated and from recorded outcomes. Delta is"
    yield f"{figures['simulated']['delta']:g}, shared out among rounds; {figures['simulated']['runs']:,} runs each.\n"
    held = ((claim, "yes" if holds else "**no**") for claim, holds in figures["claims"].items())
    yield from table(("claim", "holds"), held)


def false(figures: dict) -> Iterator[str]:
    """Renewals that should not have been."""
    rounds: Sequence[int] = figures["rounds"]
    yield "\n## Disagreement of epsilon exactly\n"
    yield "Looked at after every audit, until the exposure is 100 / epsilon: in how many of the runs the certificate"
    yield "is renewed at some look. Beside it, in how many a Poisson tail, which is made for one look at a number of"
    yield "audits that was fixed before, would have renewed it in round 2. Wary: audited four times as often while the"
    yield "losses found are more than epsilon has, as warnings do.\n"
    titles = ("epsilon", "accepted", "audited of these", *(f"round {one}" for one in rounds), "one-look test, round 2")
    yield from table(titles, (false_row(row, rounds, figures["runs"]) for row in figures["false"]))


def false_row(row: dict, rounds: Sequence[int], runs: int) -> tuple[str, ...]:
    """A row."""
    shares = (f"{row['renewed'][str(number)]} ({row['renewed'][str(number)] / runs:.2%})" for number in rounds)
    rate = f"{percent(row['rate'])}{', wary' if row['wary'] else ''}"
    return f"{row['epsilon']:g}", percent(row["accepted"]), rate, *shares, percent(row["by_one_look"] / runs)


def needed(figures: dict) -> Iterator[str]:
    """How many audits it takes."""
    yield "\n## How many audits it takes\n"
    yield "In round 2, looked at after every audit: the median, and within how many nine of ten runs are renewed."
    yield "Beside it the exposure, fixed before, at which one look by a Poisson tail would renew half, and nine of ten,"
    yield "of them: what may be looked at at any time costs so much more.\n"
    titles = ("epsilon", "disagreement", *(f"audits, {name}" for name in STREAMS), "one look, exposure")
    yield from table(titles, map(needed_row, figures["needed"]))


def needed_row(row: dict) -> tuple[str, ...]:
    """A row."""
    counts = (f"{row[name]['median']:,.0f}, {row[name]['of_ten_nine']:,.0f}" for name in (*STREAMS, "one_look"))
    return f"{row['epsilon']:g}", f"{row['loss']:g}", *counts


def recorded(rows: Sequence[dict]) -> Iterator[str]:
    """Recorded drafts."""
    yield "\n## On recorded drafts\n"
    yield "Requests drawn with replacement from a corpus of yes/no filters (Llama-3.1-8B before Llama-3.3-70B, whose"
    yield "label is the reference), one in five audited, a gateway that starts anew every 400 requests, an exposure of"
    yield "30 / epsilon, five looks. The threshold that serves loses just more than epsilon, so that it must not be"
    yield "renewed (a stricter one may), or at most half of epsilon. False: the laxest threshold that a look certified"
    yield "loses more than epsilon on the whole corpus.\n"
    titles = ("corpus", "epsilon", "serves at", "disagreement", "accepts", "renewed", "at the same threshold",
              "accepts then", "false")  # fmt: skip
    yield from table(titles, map(recorded_row, rows))


def recorded_row(row: dict) -> tuple[str, ...]:
    """A row."""
    return (
        row["corpus"], f"{row['epsilon']:g}", row["aim"], f"{row['loss']:.4f}", percent(row["accepts"]),
        *(percent(row[name] / row["runs"]) for name in ("renewed", "kept")), percent(row["accepts_then"]),
        f"{row['false']} of {row['runs']:,}",
    )  # fmt: skip
