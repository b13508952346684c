"""How often certified and plug-in thresholds break the promise, and how much each accepts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

CERTIFIED, PLUG_IN = "tab:green", "tab:red"


def draw(file: Path, rows: Sequence[Mapping[str, Any]], *, allowed: float) -> None:
    """Write the picture: a line for each population and epsilon."""
    rows = sorted(rows, key=lambda row: row["epsilon"], reverse=True)
    places = [-place - (row["epsilon"] < rows[0]["epsilon"]) for place, row in enumerate(rows)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 7.5), dpi=110, sharey=True)
    for axes, prefix in ((left, "violations"), (right, "acceptance")):
        axes.scatter([row[f"plug_in_{prefix}"] for row in rows], places, color=PLUG_IN, marker="x", label="plug-in")
        axes.scatter([row[prefix] for row in rows], places, color=CERTIFIED, zorder=3, label="certified")
        axes.grid(alpha=0.3)
    left.axvline(allowed, color="black", linewidth=0.8, linestyle="--", label="what δ = 10 % allows")
    left.set_xlabel("draws of 1,000 whose true regret is above ε")
    right.scatter(
        [row["best_acceptance"] for row in rows], places, color="grey", marker="|", s=120, label="best possible"
    )
    aims = [
        (row["wanted_acceptance"], place) for row, place in zip(rows, places, strict=True) if row["wanted_acceptance"]
    ]
    right.scatter(*zip(*aims, strict=True), facecolors="none", edgecolors="black", marker="D", label="wanted")
    right.set_xlabel("drafts accepted, mean over the draws")
    right.xaxis.set_major_formatter(PercentFormatter(1.0))
    names = [f"{row['population']}, {row['score']}, ε = {row['epsilon']}" for row in rows]
    left.set_yticks(places, names, fontsize=8)
    left.legend(loc="lower left", bbox_to_anchor=(0.24, 0.2))
    right.legend(loc="lower right")
    figure.suptitle("Thresholds for ε, certified on 500 questions at δ = 10 %, or plugged in")
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
