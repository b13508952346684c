"""The evidence of some streams as it gathers, and the share of a stream under a budget."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from watching_alarm import EPSILON, Stream, example
from watching_budget import HALF, ROLLING, Run, rolling

from router.alarm import ALPHA

mpl.use("Agg")

SHOWN = (("sst2", "imdb"), 0.3)
NUMBER = 1_500
RISES = 700


def draw(runs: Mapping[tuple[tuple[str, str], float], Run], file: Path) -> None:
    """As PNG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    evidence(left)
    if SHOWN in runs:
        share(right, runs[SHOWN])
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def evidence(axes) -> None:
    """Streams whose loss rises, and clean ones."""
    kinds = (
        ("tab:orange", f"loss 0.04 from {RISES} on", lambda place: 0.04 if place >= RISES else EPSILON / 2),
        ("tab:red", f"loss 0.06 from {RISES} on", lambda place: 0.06 if place >= RISES else EPSILON / 2),
        ("tab:blue", "loss 0.02 = epsilon", lambda _: EPSILON),
    )
    for colour, label, loss in kinds:
        for seed in range(3):
            found = example(loss, Stream(1.0, 1.0), NUMBER, seed)
            axes.plot(*found, color=colour, label=None if seed else label, linewidth=1)
    axes.axhline(-np.log(ALPHA), color="black", linestyle="--", linewidth=1)
    axes.set(xlabel="audits", ylabel="evidence (log e-value)", ylim=(-4, 8), title="An alarm at the dashed line")
    axes.legend(fontsize=8)


def share(axes, run: Run) -> None:
    """Under the budget, and with a fixed threshold."""
    (before, after), target = SHOWN
    places = np.arange(ROLLING, len(run.stream) + 1)
    axes.plot(places, rolling(run.fixed), color="tab:gray", label="threshold fixed on the first half", linewidth=1)
    axes.plot(places, rolling(run.escalated), color="tab:blue", label="budget", linewidth=1)
    axes.axhspan(target - 0.02, target + 0.02, color="tab:green", alpha=0.2, label="target, 2 points either way")
    axes.axvline(HALF, color="black", linestyle=":", linewidth=1)
    axes.set(xlabel="request", ylabel="share escalated of the last 1,000", ylim=(0, 1), title=f"{before}, then {after}")
    axes.legend(fontsize=8)
