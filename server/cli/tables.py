"""What was recorded or graded, as tables."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from router.lab.grading import Tally, TierTally
from router.lab.judging import OrderBias


def print_tally(console: Console, tally: Tally) -> None:
    """A row for each tier; nothing where there are no answers."""
    table = Table(box=None, pad_edge=False)
    for heading in ("tier", "answers", "right", "wrong", "not told", "seconds", "tokens", "cost"):
        table.add_column(heading, justify="left" if heading == "tier" else "right")
    for name, tier in tally.tiers.items():
        table.add_row(name, str(tier.answers), *shares(tier), figure(tier.seconds / tier.answers),
                      figure(tier.tokens / tier.answers), figure(tier.cost))  # fmt: skip
    if tally.tiers:
        console.print(table)


def shares(tier: TierTally) -> tuple[str, str, str]:
    """How many answers are right, wrong and neither for sure; of those that were graded, in percent."""
    if not tier.graded:
        return "-", "-", "-"
    right, wrong, untold = (f"{count / tier.graded:.1%}" for count in (tier.right, tier.wrong, tier.untold))
    return right, wrong, untold


def figure(value: float) -> str:
    """Four digits; nothing of what was not recorded."""
    return f"{value:.4g}" if value else "-"


def print_biases(console: Console, biases: Iterable[OrderBias]) -> None:
    """How far each judge can be trusted."""
    for bias in biases:
        if not bias.pairs:
            continue
        alone = bias.first + bias.second
        first = f"{bias.first / alone:.1%}" if alone else "none"
        console.print(
            f"judge: {bias.changed} of {bias.pairs} verdicts ({bias.changed / bias.pairs:.1%}) changed with the order"
            f" of the answers and count as not told; of those for one answer alone {first} were for the first;"
            f" {bias.unreadable} could not be read"
        )
