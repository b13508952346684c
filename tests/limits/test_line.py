"""A line of requests: so many at once, so many waiting; who leaves, is late, or finds no room, is not begun."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.limits.fair import Place
from server.limits.line import Line, LineRules, Shed, ShedReason

LONG_S = 3600.0


class Counted:
    """What a line counts."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.sheds: list[ShedReason] = []

    def waited(self, seconds: float) -> None:
        """A request was begun."""
        self.waits.append(seconds)

    def shed(self, reason: ShedReason) -> None:
        """One was sent away."""
        self.sheds.append(reason)


def line_of(at_once: int = 1, waiting: int = 10, wait_s: float = LONG_S, counted: Counted | None = None) -> Line:
    """A line whose clock stands still."""
    return Line(LineRules(at_once, waiting, wait_s), counted or Counted(), lambda: 0.0)


def joining(line: Line, caller: str = "a", priority: int = 0) -> asyncio.Task[float]:
    """A request that waits."""
    return asyncio.create_task(line.wait(Place(caller, priority, 1), LONG_S))


async def settled() -> None:
    """Let everybody do what can be done now."""
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(tasks: Sequence[asyncio.Task[float]]) -> None:
    """Let them all end, however."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_thousand_wait_and_all_are_begun_in_turn() -> None:
    line = line_of(at_once=4, waiting=1000)
    assert [line.begins() for _ in range(5)] == [True] * 4 + [False]
    tasks = [joining(line, caller=str(number % 7)) for number in range(1000)]
    await settled()
    assert line.waiting == 1000

    for _ in range(1000):
        line.over(1.0)
        assert line.running == 4
    await asyncio.gather(*tasks)
    for _ in range(4):
        line.over(1.0)

    assert (line.waiting, line.running) == (0, 0)


async def test_who_leaves_leaves_nothing_behind() -> None:
    line = line_of()
    line.begins()
    for _ in range(10_000):
        task = joining(line)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert (line.waiting, line.running) == (0, 1)
    assert line.begins() is False
    line.over(1.0)
    assert line.begins()


async def test_who_leaves_as_its_turn_comes_lets_the_next_one_go() -> None:
    line = line_of()
    line.begins()
    first, second = joining(line), joining(line)
    await settled()

    line.over(1.0)
    first.cancel()
    await settled()

    assert second.done()
    assert first.cancelled()
    assert line.running == 1


async def test_a_full_line_sends_the_newest_away_and_says_when_to_come_again() -> None:
    counted = Counted()
    line = line_of(waiting=2, counted=counted)
    line.begins()
    tasks = [joining(line, caller=caller) for caller in "abc"]
    await settled()

    with pytest.raises(Shed) as shed:
        await tasks[2]

    assert shed.value.reason == "full"
    assert 1 <= shed.value.retry_after_s <= 60
    assert counted.sheds == ["full"]
    assert line.waiting == 2
    await ended(tasks)


async def test_a_more_important_request_takes_the_place_of_the_newest_least_important() -> None:
    line = line_of(waiting=2)
    line.begins()
    tasks = [joining(line, caller=caller, priority=priority) for caller, priority in (("a", 0), ("b", 0), ("c", 1))]
    await settled()

    with pytest.raises(Shed):
        await tasks[1]
    line.over(1.0)
    await settled()

    assert [task.done() for task in tasks] == [False, True, True]
    await ended(tasks)


async def test_who_cannot_be_begun_in_time_is_not_begun() -> None:
    counted = Counted()
    line = line_of(wait_s=0.01, counted=counted)
    line.begins()

    with pytest.raises(Shed) as shed:
        await joining(line)

    assert (shed.value.reason, counted.sheds) == ("late", ["late"])
    assert (line.waiting, line.running) == (0, 1)


async def test_the_deadline_of_the_request_counts_where_it_is_sooner() -> None:
    line = line_of()
    line.begins()

    with pytest.raises(Shed) as shed:
        await line.wait(Place("a", 0, 1), 0.0)

    assert shed.value.reason == "late"


async def test_a_closing_line_sends_all_away_and_lets_nobody_wait() -> None:
    line = line_of()
    line.begins()
    tasks = [joining(line) for _ in range(3)]
    await settled()

    line.close()
    tasks.append(joining(line))
    reasons = [
        error.reason for error in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(error, Shed)
    ]

    assert reasons == ["draining"] * 4
    assert (line.waiting, line.running) == (0, 1)


async def test_without_room_to_wait_nobody_waits() -> None:
    line = line_of(waiting=0)
    line.begins()

    with pytest.raises(Shed):
        await joining(line)


STEPS = st.lists(st.tuples(st.sampled_from(["arrive", "leave", "over", "settle"]), st.integers(0, 5)), max_size=60)


@given(STEPS, st.integers(1, 3), st.integers(0, 4))
async def test_no_place_is_lost_and_none_stays_free_while_somebody_waits(
    steps: list[tuple[str, int]], at_once: int, room: int
) -> None:
    line = line_of(at_once, room)
    tasks: list[asyncio.Task[float]] = []
    begun = 0
    for step, number in steps:
        if step == "arrive":
            if line.begins():
                begun += 1
            else:
                tasks.append(joining(line, caller=str(number), priority=number % 2))
        elif step == "leave" and tasks:
            tasks[number % len(tasks)].cancel()
        elif step == "over" and begun:
            begun -= 1
            line.over(1.0)
        else:
            await settled()
            came = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
            begun += len(came)
            tasks = [task for task in tasks if not task.done()]
        assert line.running <= at_once
        assert line.waiting <= room
    await settled()
    begun += sum(task.done() and not task.cancelled() and task.exception() is None for task in tasks)
    waits = [task for task in tasks if not task.done()]

    assert line.running == begun
    assert line.waiting == len(waits)
    assert not waits or line.running == at_once
    await ended(tasks)
