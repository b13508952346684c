"""What all tests share: a gateway in front of scripted servers, and the official client."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import hypothesis
import openai
import pytest
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer

from server.settings.schema import Settings

# CI says the same of the same code; a developer's runs look further each time.
hypothesis.settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands that tests start keep nothing in this user's home."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@dataclass(frozen=True)
class Gateway:
    """A running gateway with the cascade `auto` over `small` and `large`, and who stands behind it; maybe beside a
    `helper` that is in no cascade."""

    url: str
    client: openai.AsyncOpenAI
    small: ScriptedServer
    large: ScriptedServer
    helper: ScriptedServer | None = None


GatewayStarter = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayStarter]:
    """`await gateway(small=Script(...), large=Script(...), threshold=0.5, ...)` starts one."""
    async with AsyncExitStack() as stack:

        async def start(
            *, small: Script, large: Script, helper: Script | None = None, server: dict[str, object] | None = None,
            limits: dict[str, float] | None = None, modalities: dict[str, list[str]] | None = None,
            store: dict[str, object] | None = None, allowing: dict[str, object] | None = None,
            tiers: dict[str, dict[str, object]] | None = None, **cascade: object,
        ) -> Gateway:  # fmt: skip
            scripts = [small, large] if helper is None else [small, large, helper]
            servers = [await stack.enter_async_context(ScriptedServer(script)) for script in scripts]
            tier = {"model": "scripted", "limits": limits or {}}
            kinds, more = modalities or {}, tiers or {}
            small_tier = {"price": {"input": 1.0, "output": 2.0}, "modalities": kinds.get("small")}
            large_tier = {"price": {"input": 10.0, "output": 20.0}, "modalities": kinds.get("large")}
            help_tier = {"price": {"input": 1.0, "output": 2.0}, "model": "helping"}
            helping = {
                name: {**tier, **help_tier, "urls": [one.url]}
                for name, one in zip(["helper"], servers[2:], strict=False)
            }
            settings = Settings.model_validate(
                {
                    "tiers": {
                        "small": {**tier, **small_tier, **more.get("small", {}), "urls": [servers[0].url]},
                        "large": {**tier, **large_tier, **more.get("large", {}), "urls": [servers[1].url]},
                        **helping,
                    },
                    "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5, **cascade}},
                    "server": server or {},
                    "store": store or {},
                    "limits": allowing or {},
                }
            )
            url = await stack.enter_async_context(running_gateway(settings))
            client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)
            stack.push_async_callback(client.close)
            return Gateway(url, client, *servers)

        yield start
