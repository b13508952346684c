"""A batch leaves requests their turn."""

import asyncio

from server.store.gently import AT_ONCE, TURNS, each


async def test_others_have_their_turn_within_a_batch() -> None:
    turns: list[int] = []
    done: list[int] = []

    async def requests() -> None:
        while True:
            turns.append(len(done))
            await asyncio.sleep(0)

    running = asyncio.create_task(requests())
    try:
        made = await each(lambda one: done.append(one) or -one, range(3 * AT_ONCE))
    finally:
        running.cancel()

    assert made == [-one for one in range(3 * AT_ONCE)]
    assert {AT_ONCE, 2 * AT_ONCE} <= {*turns}


async def test_a_large_batch_waits_for_a_few_turns_of_others_alone() -> None:
    turns = 0

    async def requests() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(requests())
    try:
        await each(str, range(100 * AT_ONCE))
    finally:
        running.cancel()

    assert turns == TURNS
