"""What is to be shown, whether it was, and the page that people read. Pure functions."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.lab.resampling import Interval


@dataclass(frozen=True)
class Claim:
    """A figure with its interval, what is wanted of it, and whether it has it. One that is `reported` alone is not
    wanted, but says what may be claimed."""

    text: str
    interval: Interval
    wanted: str
    shown: bool
    reported: bool = False

    @property
    def verdict(self) -> str:
        """For the page."""
        if self.reported:
            return "better" if self.shown else "not claimed"
        return "shown" if self.shown else "**not shown**"


def at_least(text: str, interval: Interval, least: float) -> Claim:
    """A figure that must not be below."""
    return Claim(text, interval, f"≥ {least:g}", interval.estimate >= least)


def at_most(text: str, interval: Interval, most: float) -> Claim:
    """A figure that must not be above."""
    return Claim(text, interval, f"≤ {most:g}", interval.estimate <= most)


def better(text: str, difference: Interval) -> Claim:
    """A difference that may be claimed where its interval lies above 0."""
    return Claim(text, difference, "> 0 all along its interval", difference.low > 0, reported=True)


def number(interval: Interval | Mapping[str, float], digits: int = 3) -> str:
    """With its interval."""
    one = interval if isinstance(interval, Interval) else Interval(**interval)
    return f"{one.estimate:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"


def claims_table(claims: Sequence[Claim]) -> str:
    """As Markdown."""
    lines = ["| what | measured [95 % interval] | wanted | |", "|---|--:|--:|---|"]
    lines += [f"| {one.text} | {number(one.interval)} | {one.wanted} | {one.verdict} |" for one in claims]
    return "\n".join(lines)


def policies_table(policies: Mapping[str, Mapping[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| policy | APGR | on other splits | CPT 50 % | CPT 80 % | AUROC right | AUROC gain | escalated | right there"
        " | as many at random |",
        f"|---|{'--:|' * 9}",
    ]
    for name, one in policies.items():
        auroc = " | ".join(f"{one[key]['estimate']:.3f}" for key in ("auroc_right", "auroc_gain"))
        lines.append(
            f"| {name} | {number(one['apgr'])} | {others(one)} | {one['cpt_50']:.3f} | {one['cpt_80']:.3f} | {auroc}"
            f" | {one['escalated']:.3f} | {number(one['quality'])} | {number(one['as_many_at_random'])} |"
        )
    return "\n".join(lines)


def others(one: Mapping[str, Any]) -> str:
    """A policy's APGR on other splits."""
    return ", ".join(f"{apgr:.3f}" for apgr in one["apgr_on_other_splits"])


PAGE = """# Which answers to trust, and which prompts to send up at once

Recorded outcomes of real pairs; made by `python bench/quality/routing.py --data FOLDER` in {seconds:.0f} s on
{cores} CPU cores ({machine}). Whatever is fitted is fitted on four fifths of the questions, its penalty too, and
measured on the last fifth, in turn, with copies of a question in one fifth. Intervals are of {draws:,} bootstrap
resamples of the questions, paired where they are of a difference; they hold for the fits that were made: what other
splits into fifths give is beside.

APGR is the area under the recovered share of the gap between drafter and final tier, over the share of questions
escalated: 0.5 by chance. CPT x % is the share to escalate that recovers x % of the gap. `as many at random` is the
accuracy of escalating the same number of questions drawn by chance, and where it lies in 95 of 100 drawings.

## What must be shown

{claims}

A difference is claimed where its interval lies above 0, and reported in any case.

The weights of text features never see what they are measured on, but the features were thought up with all of these
sets in view; which of them to keep was decided on the half of the questions whose hashed ids are even, and the other
half is told apart. A subject's name is what some clients send as `smallfirst.task`; use is made of it only where it is
named here.

## Policies

{sections}

![curves](routing.png)
"""


def page(figures: Mapping[str, Any], claims: Sequence[Claim]) -> str:
    """The whole page."""
    sections = [
        f"### {title}\n\n{one['questions']:,} questions; drafter right {one['drafter']:.3f},"
        f" final tier {one['final']:.3f}, either {one['either']:.3f}.\n\n{policies_table(one['policies'])}"
        for title, one in figures["sets"].items()
    ]
    return PAGE.format(
        seconds=figures["seconds"],
        cores=os.cpu_count(),
        machine=platform.machine(),
        draws=figures["draws"],
        claims=claims_table(claims),
        sections="\n\n".join(sections),
    )
