"""Accuracy against the time to the first text, policy by policy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

STYLES = {"small alone": ("tab:blue", "o"), "large alone": ("black", "s"), "hold": ("tab:red", "D")}


def draw(firsts: Mapping[str, Sequence[float]], figures: dict[str, Any], file: Path) -> None:
    """Write the picture: a point a policy at its median, a bar over the middle half of its answers."""
    figure, axes = plt.subplots(figsize=(7.5, 4.5), dpi=130)
    for name, row in figures["policies"].items():
        seconds = firsts[name]
        low, high = 1000 * seconds[len(seconds) // 4], 1000 * seconds[3 * len(seconds) // 4]
        middle = 1000 * row["first_text_s"]
        color, marker = STYLES.get(name, ("tab:green", "^"))
        axes.errorbar(
            [middle], [row["right"]], xerr=[[middle - low], [high - middle]], color=color, marker=marker, capsize=3
        )
        axes.annotate(name, (middle, row["right"]), textcoords="offset points", xytext=(6, 6), fontsize=8)
    kept = 0.98 * figures["policies"]["hold"]["right"]
    axes.axhline(kept, linewidth=0.8, linestyle="--", color="tab:red", label="98 % of hold's accuracy")
    axes.set_xscale("log")
    axes.set_xlabel("time to the first text, ms (median, and the middle half)")
    axes.set_ylabel("right answers")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"Demo pair, streams of {figures['answers']} answers longer than {figures['longer_than_tokens']} tokens"
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
