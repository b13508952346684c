"""Real vLLM servers, started once for all tests, and gateways in front of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import openai
import pytest
from fakes.gateway import running_gateway
from vllm.adapters import write_adapter
from vllm.gateways import Gateway, GatewayStarter, Tier
from vllm.servers import WEIGHTS, VllmServer, vllm_server

from models.launcher.program import Flag
from server.settings.schema import Settings

KEY = "key-of-small"
TOOLS: dict[str, Flag] = {"enable-auto-tool-choice": True, "tool-call-parser": "hermes"}
REPORTING: dict[str, Flag] = {"per-request-spec-decode-metrics": "summary"}
HANDOVER = {
    "method": "custom_class",
    "model": "smallfirst_handover.proposer.Proposer",
    "num_speculative_tokens": 16,
}
DRAFTER = {"method": "draft_model", "model": str(WEIGHTS / "small"), "num_speculative_tokens": 4}


@pytest.fixture(scope="session")
async def shared_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, VllmServer]]:
    """Those of the shared servers that some test of this run needs, started side by side."""
    folder = tmp_path_factory.mktemp("vllm")
    small = {"enable-lora": True, "max-lora-rank": 8, "lora-modules": f"tuned={write_adapter(folder / 'tuned')}"}
    starts = {
        "small": lambda: vllm_server(
            "small", folder, args={**TOOLS, **small, "max-num-queued-reqs": 4}, api_key=KEY,
            environment={"VLLM_SERVER_DEV_MODE": "1"},
        ),
        "large": lambda: vllm_server("large", folder, args=TOOLS),
        "handover": lambda: vllm_server(
            "large", folder, args={**TOOLS, **REPORTING, "speculative-config": json.dumps(HANDOVER)}
        ),
        "drafter": lambda: vllm_server(
            "large", folder, args={**TOOLS, **REPORTING, "speculative-config": json.dumps(DRAFTER)}
        ),
    }  # fmt: skip
    wanted = [item.fixturenames for item in request.session.items if isinstance(item, pytest.Function)]
    needed = {name for names in wanted if "shared_servers" in names for name in names if name in starts}
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            entering = {name: group.create_task(stack.enter_async_context(starts[name]())) for name in needed}
        yield {name: entered.result() for name, entered in entering.items()}


@pytest.fixture(scope="session")
def small(shared_servers: dict[str, VllmServer]) -> VllmServer:
    """The small model: with a key, an adapter named `tuned`, and room for four requests."""
    return shared_servers["small"]


@pytest.fixture(scope="session")
def large(shared_servers: dict[str, VllmServer]) -> VllmServer:
    """The large model, without speculation."""
    return shared_servers["large"]


@pytest.fixture(scope="session")
def handover(shared_servers: dict[str, VllmServer]) -> VllmServer:
    """The large model, verifying the drafts that requests bring."""
    return shared_servers["handover"]


@pytest.fixture(scope="session")
def drafter(shared_servers: dict[str, VllmServer]) -> VllmServer:
    """The large model, with the small one drafting inside."""
    return shared_servers["drafter"]


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[VllmServer]:
    """The large model again, for a test that kills it."""
    async with vllm_server("large", tmp_path, args=TOOLS) as server:
        yield server


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayStarter]:
    """`await gateway({"small": tier(small), "large": tier(large)}, threshold=0.5, ...)` starts one, with the cascade
    `auto` over all of the tiers if they are two or more."""
    async with AsyncExitStack() as stack:

        async def start(servers: dict[str, Tier], **auto: object) -> Gateway:
            cascades = {"auto": {"tiers": list(servers), "threshold": 0.5, **auto}} if len(servers) > 1 else {}
            settings = Settings.model_validate({"tiers": servers, "cascades": cascades})
            url = await stack.enter_async_context(running_gateway(settings))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
            client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
            await stack.enter_async_context(client)
            return Gateway(url, client, http)

        yield start
