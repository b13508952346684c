"""A load balancer as gateways meet one: it sends requests to those that say that they are ready, over connections that
it keeps, and tries nothing twice."""

import asyncio
from collections.abc import Sequence
from itertools import cycle
from typing import Self

import aiohttp
from aiohttp import web

LOOKS_EVERY_S = 0.05
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length")


class Proxy:
    """Round robin over the gateways at these addresses; `sent` counts the requests that each got."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.sent = dict.fromkeys(urls, 0)
        self.ready: set[str] = set()
        self._turns = cycle(urls)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        self._looking = [asyncio.create_task(self._look(url)) for url in self.sent]
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    async def until(self, *urls: str) -> None:
        """Wait until just these are ready."""
        async with asyncio.timeout(60):
            while self.ready != set(urls):  # noqa: ASYNC110 - other processes have no event
                await asyncio.sleep(LOOKS_EVERY_S / 5)

    async def _look(self, url: str) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{url}/ready", timeout=aiohttp.ClientTimeout(total=5)) as reply:
                        is_ready = reply.status == 200
                except (aiohttp.ClientError, TimeoutError):
                    is_ready = False
                (self.ready.add if is_ready else self.ready.discard)(url)
                await asyncio.sleep(LOOKS_EVERY_S)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        url = next((one for one in (next(self._turns) for _ in self.sent) if one in self.ready), None)
        if url is None:
            return web.Response(status=503, text="no gateway is ready")
        self.sent[url] += 1
        body = await request.read()
        headers = {"content-type": request.content_type}
        try:
            async with self._session.request(
                request.method, f"{url}{request.path}", data=body, headers=headers
            ) as reply:
                kept = {name: value for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP}
                answer = web.StreamResponse(status=reply.status, headers=kept)
                await answer.prepare(request)
                async for part in reply.content.iter_any():
                    await answer.write(part)
        except aiohttp.ClientError as broken:
            return web.Response(status=502, text=repr(broken))
        await answer.write_eof()
        return answer
