"""Counts what kinds of requests take, with keys, limits, metrics and the decision log on: this is run as a process of
its own, with PYTHONHASHSEED=0, and prints the counts as JSON."""

import asyncio
import gc
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.keys import issued
from fakes.stores import until
from fastapi import FastAPI
from speed.counting import Work
from speed.still import StillLoop, turns
from speed.upstream import UNSURE_PROMPT, running

from server.app import create_app
from server.logs import set_up_logs
from server.settings.schema import Settings
from server.stopping import LEFT

PATH = "/v1/chat/completions"
WARMING = 8
TIMES = 3
PROMPT = "word " * 150
TOKENS = 100
STREAMED = (40, 140)
DRAFTS = (50, 100, 200, 400, 800)
LIMITS = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "streams_at_once": 1000, "cost_per_day": 1e6}

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Asked:
    """A kind of request."""

    model: str
    tokens: int = TOKENS
    prompt: str = PROMPT
    stream: bool = False

    @property
    def body(self) -> bytes:
        """As clients send it."""
        fields = {"model": self.model, "messages": [{"role": "user", "content": self.prompt}]}
        return json.dumps({**fields, "max_tokens": self.tokens, "stream": self.stream}).encode()


ESCALATED = Asked("auto", prompt=f"{UNSURE_PROMPT} {PROMPT}")
WHOLE: Mapping[str, Asked] = {"accepted": Asked("auto"), "proxied": Asked("large"), "escalated": ESCALATED}
STREAMS: Mapping[str, str] = {"a chunk of a proxied stream": "large", "a chunk of a held stream": "auto"}


class Rig:
    """A gateway without a socket of its own, in front of the scripted upstream."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self._app = app
        self._key = key
        self._pools = app.state.served.pools
        self._registry = app.state.metrics.registry
        self._drain = app.state.keeping.keeper.drain

    async def ask(self, asked: Asked) -> bytes:
        """The answer's body."""
        body, said, left = asked.body, list[bytes](), asyncio.Event()
        headers = {"host": "gateway", "content-type": "application/json", "content-length": str(len(body)),
                   "authorization": f"Bearer {self._key}", "user-agent": "counting"}  # fmt: skip
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
                 "path": PATH, "raw_path": PATH.encode(), "query_string": b"", "root_path": "", "state": {},
                 "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
                 "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
                 LEFT: asyncio.get_running_loop().create_future()}  # fmt: skip
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not parts:
                await left.wait()
                return {"type": "http.disconnect"}
            return parts.pop()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200, message
            else:
                said.append(message["body"])

        await self._app(scope, receive, send)
        left.set()
        return b"".join(said)

    async def counted(self, asked: Asked) -> Counts:
        """What one such request takes, once others have gone before it: the least of several, as whatever else the
        gateway does can only add to it."""
        for _ in range(WARMING):
            await self.ask(asked)
        return min([await self._once(asked) for _ in range(TIMES)], key=lambda one: sum(one["instructions"].values()))

    async def _once(self, asked: Asked) -> Counts:
        await turns()
        work = Work()
        with work.counted():
            await self.ask(asked)
            await turns()
        return counts_of(work)

    async def ready(self) -> None:
        """Wait until the gateway has found out all that it can about its servers, and the store's writer has nothing to
        do: it then waits for a clock that does not go."""
        replicas = [replica for pool in self._pools.values() for replica in pool.replicas]
        await until(lambda: all(replica.abilities.speculation for replica in replicas))
        await until(lambda: self._registry.get_sample_value("smallfirst_journal_bytes") == 0)

    async def drained(self) -> Counts:
        """What it takes to bring what is kept of a hundred accepted drafts to the database."""
        await self._drain()
        for _ in range(100):
            await self.ask(WHOLE["accepted"])
        work = Work()
        with work.counted():
            await self._drain()
        return counts_of(work)


def counts_of(work: Work) -> Counts:
    """As JSON has it."""
    return {"instructions": dict(sorted(work.instructions.items())), "dear": dict(sorted(work.dear.items()))}


def between(fewer: Counts, more: Counts, number: int) -> Counts:
    """What each of so many more took, to a whole number of what is dear."""
    return {
        kind: {name: round((count - fewer[kind].get(name, 0)) / number) for name, count in more[kind].items()}
        for kind in more
    }


@asynccontextmanager
async def rigged(folder: Path, url: str) -> AsyncIterator[Rig]:
    """It, once it knows its servers."""
    price = {"input": 1.0, "output": 1.0}
    tiers = {name: {"model": name, "price": price, "urls": [url]} for name in ("small", "large")}
    settings = Settings.model_validate({
        "tiers": tiers,
        "cascades": {"auto": {"tiers": [*tiers], "threshold": 0.5}},
        "server": {"auth": "keys", "admin": {"port": 0}},
        "store": {"folder": str(folder), "evidence_tokens": max(DRAFTS)},
    })  # fmt: skip
    key = await issued(folder, **LIMITS)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield Rig(app, key)


async def measured(loop: StillLoop) -> dict[str, Any]:
    """All counts."""
    with tempfile.TemporaryDirectory() as folder:
        async with running() as url, rigged(Path(folder), url) as rig:
            for asked in WHOLE.values():
                await rig.ask(asked)
            await rig.ready()
            await loop.stop_clock()
            counts = {name: await rig.counted(asked) for name, asked in WHOLE.items()}
            for name, model in STREAMS.items():
                fewer, more = [await rig.counted(Asked(model, number, stream=True)) for number in STREAMED]
                counts[name] = between(fewer, more, STREAMED[1] - STREAMED[0])
            counts["a hundred decisions to the database"] = await rig.drained()
            drafts = {number: await rig.counted(Asked("auto", number)) for number in DRAFTS}
            loop.start_clock()
    return {"kinds": counts, "drafts": {number: one["instructions"] for number, one in drafts.items()}}


def main() -> None:
    """Print them."""
    set_up_logs()
    gc.disable()
    loop = StillLoop()
    asyncio.set_event_loop(loop)
    json.dump(loop.run_until_complete(measured(loop)), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
