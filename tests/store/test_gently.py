"""A batch leaves requests their turn."""

import asyncio

from server.store.gently import AT_ONCE, each


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
