"""The cost-quality curve: every threshold's accuracy against its cost, beside escalating at random."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from outcomes import Point

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter


def draw(points: Sequence[Point], figures: dict[str, Any], file: Path) -> None:
    """Write the picture."""
    large, small, cascade = figures["large"], figures["small"], figures["cascade"]
    dear = points[-1].cost / (small["cost_ratio"] + 1)  # the last point escalates all: small's cost and large's
    figure, axes = plt.subplots(figsize=(7, 4.5), dpi=130)
    axes.plot([point.cost / dear for point in points], [point.accuracy for point in points], label="each threshold")
    ends = ([small["cost_ratio"], 1 + small["cost_ratio"]], [small["accuracy"], large["accuracy"]])
    axes.plot(*ends, linestyle="--", color="grey", label="escalating at random")
    axes.axhline(0.97 * large["accuracy"], linewidth=0.8, color="tab:red", label="97 % of the large model's accuracy")
    axes.scatter([1.0], [large["accuracy"]], marker="s", color="black", zorder=3, label="large alone")
    axes.scatter([cascade["cost_ratio"]], [cascade["accuracy"]], color="tab:green", zorder=3, label="shipped threshold")
    axes.set_xlabel("cost of a request, large alone = 100 %")
    axes.set_ylabel("right answers")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(f"Demo pair, {figures['questions']} questions of the {figures['split']} split")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
