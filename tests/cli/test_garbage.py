"""What a gateway does about Python's garbage."""

import gc
from collections.abc import Iterator

import pytest

from server.garbage import look_seldom, not_looking


@pytest.fixture
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_as_before")
def test_what_is_there_at_the_start_is_never_looked_at_again() -> None:
    kept: list[object] = []
    kept.append(kept)

    look_seldom()

    assert gc.get_freeze_count() > 0
    assert not any(one is kept for one in gc.get_objects())


@pytest.mark.usefixtures("_as_before")
def test_cycles_of_later_are_still_found() -> None:
    look_seldom()
    made = [[] for _ in range(100)]
    for one in made:
        one.append(made)
    del made, one

    assert gc.collect() > 100


@pytest.mark.usefixtures("_as_before")
def test_nobody_looks_while_the_gateway_is_imported_and_what_came_is_there_to_stay() -> None:
    looks = sum(stats["collections"] for stats in gc.get_stats())

    with not_looking():
        [[] for _ in range(100_000)]
        kept: list[object] = [[] for _ in range(10_000)]

    assert looks == sum(stats["collections"] for stats in gc.get_stats())
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(kept)
