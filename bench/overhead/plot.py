"""The same as a picture."""

from pathlib import Path

import matplotlib.pyplot as plt
from page import Result

KINDS = ("plain proxy", "accepted cascade", "escalated cascade")


def plotted(result: Result, file: Path) -> None:
    """Requests a second at 32 connections, and median latency at one, by kind of request and gateway."""
    figure, (rates, latencies) = plt.subplots(
        1, 2, figsize=(12, 1.5 + 0.35 * sum(len(result.names_of(kind)) for kind in KINDS))
    )
    rows = [(kind, name) for kind in KINDS for name in result.names_of(kind)]
    labels = [f"{name}, {kind}" for kind, name in rows]
    for axes, connections, measure, title in (
        (rates, 32, "rate", "requests/s at 32 connections, one core"),
        (latencies, 1, "p50_ms", "median latency at 1 connection, ms"),
    ):
        values = [result.median(kind, connections, name, measure) for kind, name in rows]
        colours = ["tab:blue" if name == "smallfirst" else "tab:grey" for _kind, name in rows]
        bars = axes.barh(labels, values, color=colours)
        axes.bar_label(bars, [f"{value:,.0f}" if measure == "rate" else f"{value:.2f}" for value in values], padding=3)
        axes.set_xscale("log")
        axes.margins(x=0.2)
        axes.invert_yaxis()
        axes.set_title(title)
    latencies.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(file, dpi=120)
