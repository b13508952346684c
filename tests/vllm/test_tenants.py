"""Keys and a real engine's prefix cache: a prompt that one caller sent is new to another."""

from pathlib import Path

import openai
from fakes.gateway import running_gateway
from fakes.keys import issued
from vllm.gateways import tier
from vllm.servers import VllmServer, question

from server.settings.schema import Settings

LONG = "What is 7 times 8? " * 20
HITS = "vllm:prefix_cache_hits_total"


async def test_callers_share_no_prefix_cache(large: VllmServer, tmp_path: Path) -> None:
    first, second = await issued(tmp_path), await issued(tmp_path)
    settings = Settings.model_validate(
        {
            "tiers": {"large": tier(large)},
            "server": {"auth": "keys", "admin": {"port": 0}},
            "store": {"folder": str(tmp_path)},
        }
    )
    hits = []

    async with (
        running_gateway(settings) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        for key in (first, first, second, second):
            before = await large.metric(HITS)
            await client.with_options(api_key=key).chat.completions.create(**question(LONG, "large", {"max_tokens": 1}))
            hits.append(await large.metric(HITS) - before)

    cached = 150  # of the prompt's tokens, in blocks; what probes of the server hit is less
    assert [hit >= cached for hit in hits] == [False, True, False, True]
