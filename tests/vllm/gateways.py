"""Gateways in front of the tests' vLLM servers, and how tests ask them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import openai
from vllm.servers import VllmServer, question

Tier = dict[str, object]


@dataclass(frozen=True)
class Gateway:
    """A running gateway, and two ways to ask it."""

    url: str
    client: openai.AsyncOpenAI
    http: httpx.AsyncClient

    async def ask(self, prompt: str, model: str = "auto", **options):
        """The raw reply to one question, greedy."""
        return await self.client.chat.completions.with_raw_response.create(**question(prompt, model, options))


GatewayStarter = Callable[..., Awaitable[Gateway]]


def tier(*servers: VllmServer, **settings: object) -> Tier:
    """A tier of these servers, as the configuration has it."""
    first = servers[0]
    return {
        "model": first.model,
        "price": {"input": 1.0, "output": 2.0},
        "urls": [server.url for server in servers],
        "api_key": first.api_key,
        **settings,
    }


async def text_of(raw, *, stream: bool) -> str:
    """What a reply says."""
    if not stream:
        return raw.parse().choices[0].message.content
    return "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])
