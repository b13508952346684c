"""Reliability diagrams: what the confidence says, and how often it is right, before and after calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt


def draw(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the picture: a panel for each corpus."""
    figure, panels = plt.subplots(1, len(rows), figsize=(3 * len(rows), 3.4), dpi=110, sharey=True)
    for axes, row in zip(panels, rows, strict=True):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for name, color in (("uncalibrated", "tab:red"), ("calibrated", "tab:green")):
            label = f"{name}: {row[name]['error']:.3f}"
            said, right = row["diagram"][f"{name}_said"], row["diagram"][f"{name}_right"]
            axes.plot(said, right, color=color, marker="o", markersize=3, label=label)
        axes.set_title(row["corpus"], fontsize=10)
        axes.set_xlabel("says")
        axes.set_xlim(0.25, 1.02)
        axes.set_ylim(0.25, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", fontsize=7, title="ECE", title_fontsize=7)
    panels[0].set_ylabel("is right")
    figure.suptitle("Fitted on 300 labels, seen on the rest: means over 50 draws", fontsize=10)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
