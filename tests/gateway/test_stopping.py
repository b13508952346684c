"""What stops a request's work: its time, or its client's leaving."""

import asyncio
from typing import Any

import pytest

from server.stopping import LEFT, Deadlines, unless_gone

LONG_S, SHORT_S = 60.0, 0.01


async def forever() -> None:
    await asyncio.Event().wait()


async def soon() -> str:
    await asyncio.sleep(0)
    return "done"


async def nothing_comes() -> dict[str, Any]:
    await forever()
    return {}


async def leaves() -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"type": "http.disconnect"}


def connection() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def test_a_block_that_takes_too_long_is_late() -> None:
    with pytest.raises(TimeoutError), Deadlines().within(SHORT_S):
        await forever()

    await asyncio.sleep(0)  # nothing is left of the cancellation


async def test_a_block_without_time_is_late_at_once() -> None:
    with pytest.raises(TimeoutError), Deadlines().within(0.0):
        await forever()


async def test_who_is_due_sooner_is_not_held_up_by_who_waits_longer() -> None:
    deadlines = Deadlines()

    with deadlines.within(LONG_S):
        with pytest.raises(TimeoutError), deadlines.within(SHORT_S):
            await forever()

        assert await soon() == "done"


async def test_who_is_due_later_is_late_after_others_were() -> None:
    deadlines = Deadlines()

    async def late(within_s: float) -> None:
        with pytest.raises(TimeoutError), deadlines.within(within_s):
            await forever()

    await asyncio.gather(late(3 * SHORT_S), late(SHORT_S), late(2 * SHORT_S))


async def test_what_is_over_in_time_is_left_alone_when_its_time_comes() -> None:
    deadlines = Deadlines()

    with deadlines.within(SHORT_S):
        assert await soon() == "done"
    with pytest.raises(TimeoutError), deadlines.within(2 * SHORT_S):  # the timer has looked by then
        await forever()


async def test_another_cancellation_is_no_lateness() -> None:
    async def work() -> None:
        with Deadlines().within(LONG_S):
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_is_stopped_when_its_connection_is_lost() -> None:
    left = connection()
    asyncio.get_running_loop().call_soon(left.set_result, None)

    assert await unless_gone(forever(), {LEFT: left}, nothing_comes) is None


async def test_work_is_stopped_where_only_what_is_received_tells() -> None:
    assert await unless_gone(forever(), {}, leaves) is None


async def test_work_that_is_done_is_told_of_no_client_that_leaves_later() -> None:
    left = connection()

    assert await unless_gone(soon(), {LEFT: left}, nothing_comes) == "done"
    left.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_cancellation_that_is_not_the_clients_is_passed_on() -> None:
    task = asyncio.create_task(unless_gone(forever(), {LEFT: connection()}, nothing_comes))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
