"""The plots of an evaluation as SVG, to stand in a page: text is text, and ink has the page's colour, light or dark."""

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from router.lab.evaluation import Evaluated, Evaluation
from router.lab.measures import Floats, Undefined, recovered
from router.lab.resampling import Interval

INK = "#010203"
COLOURS = ("#2f81d6", "#e07b18", "#2a9d6f", "#c64f9b", "#b0950f", "#7d6bd6", "#d6504a", "#5f8a9e")
DASHES = ("-", (0, (5, 2)), (0, (6, 2, 1.5, 2)), (0, (2.5, 1.5)))
FEW_POINTS = 4
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def cost_quality(evaluation: Evaluation) -> str:
    """Right answers over the cost of a request, at every threshold of every policy."""
    with plain_style():
        figure, axes = panel(7.2, 4.4)
        for look, one in styled(evaluation.policies):
            line(axes, one.curve.cost, one.curve.quality, look)
        alone = evaluation.at_random
        axes.plot([alone.draft_cost, 1.0], [alone.draft_right, alone.final_right], color=INK, alpha=0.5,
                  linestyle=":", label="either tier alone, at random")  # fmt: skip
        axes.plot([1.0], [alone.final_right], "s", color=INK, label=f"{evaluation.tiers[1].name} alone")
        percents(axes, "cost of a request, final tier alone = 100 %", "right answers")
        axes.legend(loc="lower right")
        return svg(figure, "cost", "Right answers over the cost of a request, for each policy at every threshold")


def recovered_gap(evaluation: Evaluation) -> str:
    """What escalating recovers of the gap; empty where there is none."""
    with plain_style():
        figure, axes = panel(7.2, 4.4)
        try:
            for look, one in styled(evaluation.policies):
                line(axes, one.curve.escalated, recovered(one.curve), look)
        except Undefined:
            return ""
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.5, linestyle=":", label="at random")
        percents(axes, "requests escalated", "gap recovered")
        axes.legend(loc="lower right")
        return svg(figure, "gap", "Share of the gap between drafter and final tier that is recovered, over the share"
                   " of requests escalated, for each policy")  # fmt: skip


def areas(evaluation: Evaluation) -> str:
    """The average gap recovered, with its interval; empty where there is none."""
    rows = [(look, one.name, one.measures["apgr"]) for look, one in styled(evaluation.policies)]
    if not all(np.isfinite(interval.estimate) for _, _, interval in rows):
        return ""
    with plain_style():
        figure, axes = panel(7.2, 0.9 + 0.34 * len(rows))
        for place, (look, _, interval) in enumerate(reversed(rows)):
            whisker(axes, interval, place, look["color"])
        axes.axvline(0.5, color=INK, alpha=0.5, linestyle=":")
        axes.set_yticks(range(len(rows)), [name for _, name, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel("average gap recovered (APGR); at random 0.5")
        axes.grid(visible=False, axis="y")
        return svg(figure, "apgr", "Average gap recovered of each policy, with its 95 % interval")


def whisker(axes: Axes, interval: Interval, place: int, colour: str) -> None:
    """A point, and a line between the ends of its interval."""
    axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2)
    axes.plot([interval.estimate], [place], "o", color=colour)


def reliability(evaluation: Evaluation) -> str:
    """How often what was said came true, in bins of equal mass; a panel for each policy."""
    shown = [(look, one) for look, one in styled(evaluation.policies) if one.reliability.said.size]
    if not shown:
        return ""
    across = min(4, len(shown))
    down = -(-len(shown) // across)
    with plain_style():
        figure = Figure(figsize=(2.45 * across + 0.3, 2.6 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (look, one) in zip(panels, shown, strict=False):
            diagram(axes, one, look["color"])
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("confidence", fontsize=10, color=INK)
        figure.supylabel("came true", fontsize=10, color=INK)
        return svg(figure, "reliability", "Reliability diagrams: how often drafts were as the confidence says, for each"
                   " policy, in bins of equally many questions")  # fmt: skip


def diagram(axes: Axes, one: Evaluated, colour: str) -> None:
    """One policy's."""
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.5, linestyle=":")
    axes.plot(one.reliability.said, one.reliability.happened, "o-", color=colour, markersize=4, linewidth=1)
    axes.set_title(f"{one.name}\nECE {one.ece:.3f}", color=INK)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")


def plain_style() -> AbstractContextManager[None]:
    """How all plots look: text stays text, and none of it is mathematics."""
    return mpl.rc_context({
        "svg.fonttype": "none", "text.parse_math": False, "font.family": "sans-serif", "font.size": 10,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": INK,
        "grid.alpha": 0.12, "axes.titlesize": 10, "legend.frameon": False, "legend.labelcolor": INK,
    })  # fmt: skip


def styled(policies: Sequence[Evaluated]) -> list[tuple[dict[str, Any], Evaluated]]:
    """Each policy with its colour and dashes: told apart without colour too."""
    looks = [
        {"color": colour, "linestyle": DASHES[place % len(DASHES)], "label": one.name}
        for place, (colour, one) in enumerate(zip(cycle(COLOURS), policies, strict=False))
    ]
    return list(zip(looks, policies, strict=True))


def line(axes: Axes, across: Floats, up: Floats, look: dict[str, Any]) -> None:
    """A curve; one of few thresholds has them marked."""
    marker = "o" if len(across) <= FEW_POINTS else None
    axes.plot(across, up, linewidth=1.8, marker=marker, markersize=5, **look)


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """One plot, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def percents(axes: Axes, across: str, up: str) -> None:
    """Both axes' names, and their shares in percent."""
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def svg(figure: Figure, name: str, said: str) -> str:
    """The figure as an element of a page, whose ids no other plot has, with what it shows in words."""
    written = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(written, format="svg", transparent=True, metadata=NO_METADATA)
    drawn = written.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    drawn = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", drawn)
    return re.sub(r"^<svg", f'<svg role="img" aria-label="{said}"', drawn)
