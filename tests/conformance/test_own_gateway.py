"""Our own gateway passes the suite, as a cascade and as a single tier."""

import aiohttp
import pytest
from fakes.gateway import running_gateway
from fakes.pools import probed

from server.conformance.case import Result
from server.conformance.gateway import Gateway
from server.conformance.plays import LARGE, SMALL
from server.conformance.stage import Stage
from server.conformance.suite import run
from server.conformance.upstream import Upstream
from server.settings.schema import Settings

PATIENCE_S = 5.0


def settings(upstream: str) -> Settings:
    """Both tiers on the scripted server."""
    price = {"input": 1.0, "output": 2.0}
    return Settings.model_validate(
        {
            "tiers": {
                "small": {"model": SMALL, "price": price, "urls": [upstream]},
                "large": {"model": LARGE, "price": price, "urls": [upstream]},
            },
            "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5, "failover_share": 1.0}},
        }
    )


async def results(model: str, *, escalates: bool) -> list[Result]:
    """What the suite says of our gateway."""
    async with (
        Upstream(0) as upstream,
        running_gateway(settings(upstream.url)) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        await probed(url)
        stage = Stage(Gateway(session, url, {}), upstream, model, escalates, PATIENCE_S)
        return [result async for result in run(stage)]


@pytest.mark.parametrize(("model", "escalates"), [("auto", True), ("large", False)])
async def test_our_gateway_passes(model: str, escalates: bool) -> None:
    seen = await results(model, escalates=escalates)

    assert not [result for result in seen if result.verdict == "FAIL"]
    assert sum(result.verdict == "pass" for result in seen) > 100


async def test_without_the_scripted_model_what_needs_none_is_run() -> None:
    async with (
        Upstream(0) as upstream,
        running_gateway(settings(upstream.url)) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        stage = Stage(Gateway(session, url, {}), None, "auto", True, PATIENCE_S)
        seen = [result async for result in run(stage)]

    verdicts = {area: {one.verdict for one in seen if one.area == area} for area in ("errors", "parameters", "usage")}
    assert verdicts == {"errors": {"pass", "not run"}, "parameters": {"not run"}, "usage": {"pass", "not run"}}
    assert not [result for result in seen if result.verdict == "FAIL"]
