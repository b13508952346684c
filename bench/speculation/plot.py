"""The picture: what each way costs, and every escalated answer's steps with and without its draft."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from report import WAYS

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

TARGET = 0.6


def draw(figures: Mapping[str, Any], steps: Sequence[tuple[int, int]], file: Path) -> None:
    """Write it. `steps` are each escalated answer's, fresh and with its draft."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), dpi=130)
    alone = figures["ways"]["large"]
    for place, (unit, title) in enumerate([("steps", "steps of the large model"), ("seconds", "time")]):
        shares = [figures["ways"][name][unit] / alone[unit] for name in WAYS]
        left.barh([row + 0.2 - 0.4 * place for row in range(len(WAYS))], shares, height=0.38, label=title)
    left.set_yticks(range(len(WAYS)), WAYS.values())
    left.invert_yaxis()
    left.xaxis.set_major_formatter(PercentFormatter(1.0))
    left.set_title(f"{figures['compared']} questions, large alone = 100 %")
    left.legend(loc="lower right", fontsize="small")
    longest = max(fresh for fresh, _ in steps)
    right.plot([0, longest], [0, longest], color="grey", linewidth=0.8, label="no gain")
    right.plot([0, longest], [0, TARGET * longest], color="tab:red", linewidth=0.8, label=f"{TARGET:.0%}")
    right.scatter(*zip(*steps, strict=True), s=10, alpha=0.4, label="one escalated answer")
    right.set_xlabel("steps from the start")
    right.set_ylabel("steps with its draft")
    right.set_title(f"{len(steps)} escalated answers")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
