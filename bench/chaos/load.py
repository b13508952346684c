"""Steady load as clients behind a load balancer make it, and what each of them saw."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import orjson

TOO_LONG_S = 60

Saw = Literal["answered", "refused", "broken", "no connection", "cut", "unclear"]
IS_CLEAR = ("answered", "refused", "broken")


@dataclass(frozen=True, slots=True)
class Try:
    """One request to one gateway: which, when (seconds after the load began), and what the client saw. `told` is the
    status and code of an error."""

    request_id: str
    gateway: int
    began_s: float
    took_s: float
    saw: Saw
    told: str | None = None


@dataclass(slots=True)
class Load:
    """Asks one question after the other at a fixed rate, of the gateways in turn; where one cannot be reached or is
    cut off in the middle, the other one, as a load balancer and a client that tries again would."""

    urls: Sequence[str]
    questions: Sequence[str]
    rate: float
    key: str | None = None
    tries: list[Try] = field(default_factory=list)
    asked: int = 0
    began_s: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; then until all have an end."""
        self.began_s = time.monotonic()
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session, asyncio.TaskGroup() as group:
            for number in itertools.count():
                due_s = self.began_s + number / self.rate
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if stop.is_set():
                    return
                self.asked += 1
                group.create_task(self._client(session, number))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        for attempt in range(len(self.urls)):
            gateway = (number + attempt) % len(self.urls)
            one = await self._try(session, f"chaos-{number}-{attempt}", gateway, number)
            self.tries.append(one)
            if one.saw in IS_CLEAR:
                return

    async def _try(self, session: aiohttp.ClientSession, request_id: str, gateway: int, number: int) -> Try:
        began_s = time.monotonic()
        body = {
            "model": "auto", "temperature": 0, "stream": number % 2 == 1,
            "messages": [{"role": "user", "content": self.questions[number % len(self.questions)]}],
        }  # fmt: skip
        told = None
        try:
            async with (
                asyncio.timeout(TOO_LONG_S),
                session.post(
                    f"{self.urls[gateway]}/v1/chat/completions", json=body, headers={"x-request-id": request_id}
                ) as reply,
            ):
                saw, told = read(reply.status, await reply.read())
        except aiohttp.ClientConnectorError:
            saw = "no connection"
        except aiohttp.ClientError:
            saw = "cut"
        except TimeoutError:
            saw, told = "unclear", f"nothing within {TOO_LONG_S} s"
        return Try(request_id, gateway, began_s - self.began_s, time.monotonic() - began_s, saw, told)


def read(status: int, body: bytes) -> tuple[Saw, str | None]:
    """What a whole reply says to a client: an answer, or an error in OpenAI's shape."""
    if status == 200 and body.startswith(b"data: "):
        events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event.startswith(b"data: ")]
        if events[-1] == b"[DONE]":
            return "answered", None
        return clear("broken", status, events[-1])
    if status == 200:
        return ("answered", None) if b'"choices"' in body else ("unclear", body[:80].decode(errors="replace"))
    return clear("refused", status, body)


def clear(saw: Saw, status: int, body: bytes) -> tuple[Saw, str]:
    """An error that was seen so, where it is one in OpenAI's shape that says what is wrong."""
    try:
        error = orjson.loads(body)["error"]
        told = f"{status} {error['code'] or error['type']}"
        is_clear = bool(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "unclear", f"{status} {body[:80].decode(errors='replace')}"
    return saw if is_clear else "unclear", told
