"""A gateway in a thread of its own, for clients and test classes that block; and clients that call nobody else."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
from anyio.from_thread import start_blocking_portal
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer

from server.settings.schema import Settings

# Read while the clients are imported: no traces are sent, and prices come from the package.
os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

# They want older versions of what the others share: `make test` runs their tests in an environment of their own.
HELD = ("instructor", "litellm")
collect_ignore = [f"test_{client}.py" for client in HELD if find_spec(client) is None]


@dataclass(frozen=True)
class Standing:
    """A running gateway with the cascade `auto` over `small` and `large`, and who stands behind it."""

    url: str
    small: ScriptedServer
    large: ScriptedServer


@pytest.fixture(scope="module")
def standing() -> Iterator[Callable[..., Standing]]:
    """`standing(small=Script(...), large=Script(...))` starts one, which lasts as long as the module's tests."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def start(*, small: Script, large: Script) -> Standing:
            return stack.enter_context(portal.wrap_async_context_manager(cascade(small, large)))

        yield start


@asynccontextmanager
async def cascade(small: Script, large: Script) -> AsyncIterator[Standing]:
    """Both servers, and the gateway before them."""
    price = {"input": 1.0, "output": 2.0}
    async with ScriptedServer(small) as first, ScriptedServer(large) as last:
        tiers = {
            "small": {"model": "scripted", "price": price, "urls": [first.url]},
            "large": {"model": "scripted", "price": price, "urls": [last.url]},
        }
        cascades = {"auto": {"tiers": list(tiers), "threshold": 0.5}}
        async with running_gateway(Settings.model_validate({"tiers": tiers, "cascades": cascades})) as url:
            yield Standing(f"{url}/v1", first, last)
