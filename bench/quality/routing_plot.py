"""The curves: each policy's share of right answers over what it escalates, beside escalating at random."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

from router.lab.measures import Curve

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def draw(sets: Mapping[str, Mapping[str, Curve]], over_cost: set[str], file: Path) -> None:
    """Write the picture: a panel for each set, over cost where the set has it, else over the share escalated."""
    figure, panels = plt.subplots(1, len(sets), figsize=(5.2 * len(sets), 4.4), dpi=120, squeeze=False)
    for axes, (title, policies) in zip(panels[0], sets.items(), strict=True):
        for colour, (name, curve) in zip(COLOURS, policies.items(), strict=False):
            across = curve.cost if title in over_cost else curve.escalated
            few = len(across) <= 3
            axes.plot(across, curve.quality, color=colour, label=name, linewidth=1.5, marker="o" if few else None)
        ends = [0, -1]
        axes.plot(across[ends], curve.quality[ends], color="grey", linestyle="--", label="at random")
        axes.axhline(curve.quality[-1], color="black", linewidth=0.6)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("cost, final tier alone = 100 %" if title in over_cost else "share escalated")
        axes.set_ylabel("right answers")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
