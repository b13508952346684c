"""What requests cost, in work that is the same on any machine: nobody makes them dearer without saying so."""

from itertools import pairwise
from typing import Any

import pytest
from speed.recorded import FILE, WITHIN, WITHIN_ELSEWHERE, Count, complaint, counted, python, recorded

STEEPER = 0.25  # a part that grew by the square of the tokens would double from each draft to the next
RECORDED = recorded()
TOLERANCE = WITHIN if RECORDED["python"] == python() else WITHIN_ELSEWHERE


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    """The counts of the code as it is."""
    return counted()


@pytest.mark.parametrize("kind", RECORDED["kinds"])
def test_a_request_takes_no_more_work_than_was_recorded(now: dict[str, Any], kind: str) -> None:
    before, after = Count.of(RECORDED["kinds"][kind]), Count.of(now["kinds"][kind])

    assert not complaint(kind, before, after, within=TOLERANCE)


def test_every_kind_of_request_is_recorded(now: dict[str, Any]) -> None:
    assert list(now["kinds"]) == list(RECORDED["kinds"]), f"record {FILE.name} with `make record-work`"


def test_deciding_takes_work_in_proportion_to_the_tokens(now: dict[str, Any]) -> None:
    work = {int(tokens): sum(parts.values()) for tokens, parts in now["drafts"].items()}

    slopes = [(work[more] - work[fewer]) / (more - fewer) for fewer, more in pairwise(work)]

    assert max(slopes) <= (1 + STEEPER) * slopes[0], f"instructions for each more token: {slopes}"
