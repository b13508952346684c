"""What a case is, and what can come of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from server.conformance.stage import Stage

Verdict = Literal["pass", "FAIL", "not run", "not served"]
Needs = Literal["nothing", "upstream", "cascade"]
Run = Callable[[Stage], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a gateway should do. `run` says in a line what was seen, or raises Wrong or NotServed."""

    area: str
    name: str
    meaning: str
    run: Run
    needs: Needs = "upstream"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case."""

    area: str
    name: str
    verdict: Verdict
    seen: str


def case(area: str, name: str, run: Run, needs: Needs = "upstream") -> Case:
    """A case whose meaning is the first paragraph of its function's docstring."""
    meaning = " ".join((run.__doc__ or "").split("\n\n")[0].split())
    return Case(area, name, meaning, run, needs)
