"""What was found of one thing, and how to mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`about` names the thing in the configuration's own words, `said` what was found; `fix` is what to do, where
    anything is to be done. A problem keeps requests from being answered, or a promise from being kept; a warning costs
    time or money."""

    level: Level
    about: str
    said: str
    fix: str | None = None


def good(about: str, said: str) -> Finding:
    """All is well."""
    return Finding("good", about, said)


def warning(about: str, said: str, fix: str) -> Finding:
    """It works, and could work better."""
    return Finding("warning", about, said, fix)


def problem(about: str, said: str, fix: str) -> Finding:
    """It does not work."""
    return Finding("problem", about, said, fix)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst of them."""
    order: tuple[Level, ...] = ("good", "warning", "problem")
    return max((finding.level for finding in findings), key=order.index, default="good")
