"""Which server a request goes to."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.abilities import SpeculationKind
from models.picking import Candidate, expected_tokens_a_step, pick, speculation_pays, useful, worth_it

NAMES = ["a", "b", "c", "d"]


def server(name: str, load: float = 0, **more) -> Candidate[str]:
    """A server of this name and load."""
    return Candidate(name, name, load, **more)


@given(st.binary(min_size=1, max_size=16), st.permutations(NAMES))
def test_the_order_in_which_servers_are_listed_is_of_no_account(conversation: bytes, names: list[str]) -> None:
    assert pick([server(name) for name in names], conversation) == pick([server(name) for name in NAMES], conversation)


@given(st.binary(min_size=1, max_size=16))
def test_a_server_that_leaves_moves_its_own_conversations_only(conversation: bytes) -> None:
    before = pick([server(name) for name in NAMES], conversation).name
    after = pick([server(name) for name in NAMES if name != "d"], conversation).name

    assert after == before or before == "d"


@given(st.binary(min_size=1, max_size=16))
def test_a_full_server_is_asked_last(conversation: bytes) -> None:
    assert pick([server("a", full=True), server("b", load=100)], conversation).name == "b"


def test_loads_stay_close_together() -> None:
    loads = dict.fromkeys(NAMES, 0)
    chance = random.Random(0)
    for _ in range(400):
        chosen = pick([server(name, load) for name, load in loads.items()], chance.randbytes(8))
        loads[chosen.name] += 1

    assert max(loads.values()) - min(loads.values()) <= 60


@pytest.mark.parametrize(("acceptance", "expected"), [(0.0, 1.0), (1.0, 6.0), (0.8, 3.68928)])
def test_expected_tokens_a_step_are_those_of_the_paper(acceptance: float, expected: float) -> None:
    assert expected_tokens_a_step(acceptance, 5) == pytest.approx(expected)


@given(st.floats(0, 0.99), st.integers(1, 16))
def test_they_are_the_mean_of_what_happens(acceptance: float, at_once: int) -> None:
    runs = sum(acceptance**length for length in range(at_once + 1))

    assert expected_tokens_a_step(acceptance, at_once) == pytest.approx(runs)


def test_speculation_pays_at_low_load_and_costs_at_high() -> None:
    def pays(batch: int) -> bool:
        return speculation_pays(3.0, at_once=5, batch=batch, saturation_tokens=256)

    assert pays(1)
    assert pays(40)
    assert not pays(200)
    assert not pays(1000)


def pair(
    load: float, *, kind: SpeculationKind = "drafter", plain_load: float | None = None, **more
) -> list[Candidate[str]]:
    """A plain server and one that speculates, at these loads."""
    plain = server("plain", load if plain_load is None else plain_load, speculation="none")
    return [plain, server("fast", load, speculation=kind, **more)]


def names(candidates: Sequence[Candidate[str]]) -> set[str]:
    """Who they are."""
    return {one.name for one in candidates}


@pytest.mark.parametrize("seen", [{}, {"tokens_a_step": 2.5, "at_once": 4}])
def test_a_tier_with_both_kinds_of_server_uses_the_one_that_pays(seen) -> None:
    assert names(worth_it(pair(1, **seen), 256)) == {"fast"}
    assert names(worth_it(pair(500, **seen), 256)) == {"plain"}


def test_a_server_without_room_or_with_a_long_queue_is_not_worth_it() -> None:
    assert names(worth_it(pair(1, full=True), 256)) == {"plain"}
    assert names(worth_it(pair(20, plain_load=0), 256)) == {"plain"}


def test_who_verifies_drafts_is_left_to_requests_that_bring_one_while_others_have_room() -> None:
    assert names(useful(pair(1, kind="handover"), drafted=False)) == {"plain"}
    assert names(useful(pair(1, kind="handover"), drafted=True)) == {"plain", "fast"}
    assert names(useful(pair(1, kind="drafter"), drafted=True)) == {"plain"}
    assert names(useful(pair(0, kind="handover", plain_load=50), drafted=False)) == {"plain", "fast"}
