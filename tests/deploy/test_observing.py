"""The rules and the dashboard that operators get: against a real Prometheus that scrapes a gateway at work."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import openai
import yaml
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer
from fakes.trusting import certificate, trust
from fakes.waiting import until_ok

from models.launcher.program import free_ports
from server.settings.schema import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "smallfirst.json").read_text())
METRICS_PAGE = (DEPLOY.parent / "docs" / "metrics.md").read_text()
MESSAGES = [{"role": "user", "content": "is it?"}]
NAME = re.compile(r"smallfirst_[a-z_]+")
WITHIN_S = 60
SERIES = ("_bucket", "_count", "_sum")


def queries() -> Iterator[tuple[str, str]]:
    """The title of each panel of the dashboard with each of its queries, as Grafana would send it."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            filled = target["expr"].replace("$__rate_interval", "1m").replace("$cascade", ".*")
            yield panel["title"], filled


def expressions() -> Iterator[str]:
    """All that the rules and the dashboard ask for."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    yield from (query for _, query in queries())


def test_the_rules_are_sound_and_their_alerts_fire_when_they_should() -> None:
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        ran = subprocess.run(  # noqa: S603 - our own command
            [installed("promtool"), *command], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested() -> None:
    tested = (RULES.parent / "rules_test.yaml").read_text()
    alerts = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
              if "alert" in rule]  # fmt: skip

    assert len(alerts) > 10
    assert [alert for alert in alerts if f"alertname: {alert}" not in tested] == []


def test_only_metrics_that_there_are_are_asked_for() -> None:
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    plain = {next((name.removesuffix(end) for end in SERIES if name.endswith(end)), name) for name in asked}

    assert len(plain) > 15
    assert {name for name in plain if f"| `{name}` |" not in METRICS_PAGE} == set()


async def test_every_panel_shows_something(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_gateway(await settings_of(stack, tmp_path)))
        prometheus = await stack.enter_async_context(scraping(url, tmp_path))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=prometheus))
        wanted = [*queries()]

        async with asyncio.timeout(WITHIN_S):
            while wanted:
                await at_work(url)
                wanted = [(title, query) for title, query in wanted if not await shows(client, query)]

    assert len([*queries()]) > 15


async def settings_of(stack: AsyncExitStack, folder: Path) -> Settings:
    """A cascade that escalates, one with a certificate that is audited, and one whose first tier fails."""
    scripts = {
        "unsure": Script("maybe", p=0.2), "sure": Script("yes"), "failing": Script(status=500),
        "large": Script("yes", speculation="handover"),
    }  # fmt: skip
    servers = {name: await stack.enter_async_context(ScriptedServer(script)) for name, script in scripts.items()}
    price = {"input": 1.0, "output": 2.0}
    return Settings.model_validate({
        "tiers": {name: {"model": "scripted", "price": price, "urls": [one.url]} for name, one in servers.items()},
        "cascades": {
            "auto": {"tiers": ["unsure", "large"], "threshold": 0.5},
            "broken": {"tiers": ["failing", "large"], "threshold": 0.5, "failover_share": 1.0},
            "promised": {
                "tiers": ["sure", "large"], "mode": "certified",
                "trust": trust(certified=certificate(0.5, audited_by="exact", disagreement=0.1)),
                "audits": {"rate": 1.0, "spend_per_day": 1000.0},
            },
        },
        "store": {"folder": str(folder / "store")},
    })  # fmt: skip


async def at_work(url: str) -> None:
    """A request of each kind."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        for model in ("auto", "promised", "broken"):
            await client.chat.completions.create(model=model, messages=MESSAGES)


async def shows(client: httpx.AsyncClient, query: str) -> bool:
    """Whether a query has a value by now. It must be one that Prometheus takes."""
    reply = await client.get("/api/v1/query", params={"query": query})
    assert reply.status_code == 200, (query, reply.text)
    return any(sample["value"][1] != "NaN" for sample in reply.json()["data"]["result"])


@asynccontextmanager
async def scraping(url: str, folder: Path) -> AsyncIterator[str]:
    """A Prometheus that reads the gateway's metrics twice a second, and evaluates the rules."""
    (port,) = free_ports(1)
    target = {"job_name": "smallfirst", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"}, "rule_files": [str(RULES)],
        "scrape_configs": [target],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        installed("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await until_ok(f"http://127.0.0.1:{port}/-/ready", within_s=WITHIN_S)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def installed(program: str) -> str:
    """Its path."""
    path = shutil.which(program)
    assert path is not None, f"{program} is not installed: `make test` installs it"
    return path
