"""Clients that ask a gateway without a pause."""

import asyncio

import openai

CLIENTS = 8


class Load:
    """Clients that ask without a pause, every second one for a stream, and do not try again."""

    def __init__(self, url: str) -> None:
        self._client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)
        self._enough = asyncio.Event()
        self.answers: list[str] = []

    async def until_enough(self) -> None:
        """Ask until told to stop. Raises whatever a client sees that is no answer."""
        async with self._client, asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._ask(streams=number % 2 == 0))

    def enough(self) -> None:
        """The answers under way are the last."""
        self._enough.set()

    async def more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        async with asyncio.timeout(60):
            while len(self.answers) < wanted:  # noqa: ASYNC110 - it is counted by many
                await asyncio.sleep(0.01)

    async def one(self, *, streams: bool) -> str:
        """One answer."""
        messages = [{"role": "user", "content": "count"}]
        if streams:
            chunks = await self._client.chat.completions.create(model="auto", messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        reply = await self._client.chat.completions.create(model="auto", messages=messages)
        return reply.choices[0].message.content or ""

    async def _ask(self, *, streams: bool) -> None:
        while not self._enough.is_set():
            self.answers.append(await self.one(streams=streams))
