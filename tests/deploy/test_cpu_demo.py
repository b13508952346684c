"""The overlay `cpu-demo`, run: its containers' commands as processes, wired as its manifests say."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import openai
import pytest
import yaml
from fakes.dockerfile import lineage, stages_of
from fakes.manifests import Manifests, Pods, overlay
from fakes.served import SMALLFIRST

from models.demo.files import WEIGHTS
from models.launcher.program import free_ports

ROOT = Path(__file__).parents[2]
STARTS_S = 120.0
SERVICES = ("small-servers", "large-servers")


class Cluster:
    """This machine in the cluster's place: a port for each port of a pod, a name of which is `127.0.0.1` and that port,
    and folders for what is mounted."""

    def __init__(self, manifests: Manifests, folder: Path) -> None:
        self.manifests = manifests
        self._folder = folder
        self.pods = {"gateway": manifests.pods_of("gateway"), **{name: manifests.behind(name) for name in SERVICES}}
        self.ports = dict(zip(self.pods, free_ports(len(self.pods)), strict=True))

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def config(self) -> Path:
        """The rendered ConfigMap's file, with the names of Services led to where they are here."""
        file = self._folder / "smallfirst.yaml"
        text = self.manifests.config
        for name in SERVICES:
            (port,) = self.manifests.one("Service", name)["spec"]["ports"]
            text = text.replace(f"http://{name}:{port['port']}", self.url(name))
        file.write_text(text)
        return file

    def command(self, name: str, entry: list[str]) -> list[str]:
        """What the container runs, at its port and folders here."""
        container = self.pods[name].container
        words = [*container.get("command", entry), *container["args"]]
        here = {"smallfirst": str(SMALLFIRST), "/etc/smallfirst/smallfirst.yaml": str(self.config())}
        (port,) = container["ports"]
        moved = [re.sub(rf"^--port={port['containerPort']}$", f"--port={self.ports[name]}", word) for word in words]
        return [here.get(word, word.replace("/opt/demo", str(WEIGHTS))) for word in moved]

    def environment(self, name: str) -> dict[str, str]:
        """What the container gets: of the base system only the path, and no home."""
        stated = self.manifests.environment({}) if name == "gateway" else {}
        ours = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(self._folder)}
        if "PYTHONPATH" in os.environ:
            ours["PYTHONPATH"] = os.environ["PYTHONPATH"]
        port = {"SMALLFIRST_SERVER__PORT": str(self.ports["gateway"])} if name == "gateway" else {}
        return {**ours, **stated, **port}


@asynccontextmanager
async def running(cluster: Cluster, name: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The container's process; ended as Kubernetes does."""
    image = cluster.pods[name].container["image"].partition(":")[0]
    stage = {"smallfirst": "gateway", "smallfirst-engine": "engine"}[image]
    entry = [one.last("ENTRYPOINT") for one in lineage(stages_of(ROOT / "Dockerfile"), stage) if one.last("ENTRYPOINT")]
    assert entry[-1] is not None
    log = folder / f"{name}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *cluster.command(name, entry[-1].words), env=cluster.environment(name), stderr=file
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 30)


async def probed(cluster: Cluster, name: str, kind: str) -> None:
    """Wait until one of a container's probes is content, as often as it may fail."""
    pods: Pods = cluster.pods[name]
    asked: Mapping[str, str] = pods.container[kind]["httpGet"]
    (port,) = [port for port in pods.container["ports"] if port["name"] == asked["port"]]
    assert port["containerPort"]
    async with asyncio.timeout(STARTS_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{cluster.url(name)}{asked['path']}") as reply:
                    if 200 <= reply.status < 400:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """All its containers, each through its startup probe."""
    folder = tmp_path_factory.mktemp("cpu-demo")
    cluster = Cluster(overlay("cpu-demo"), folder)
    async with (
        running(cluster, SERVICES[0], folder),
        running(cluster, SERVICES[1], folder),
        running(cluster, "gateway", folder),
    ):
        for name in (*SERVICES, "gateway"):
            await probed(cluster, name, "startupProbe")
        yield cluster


async def test_it_answers_a_question(cluster: Cluster) -> None:
    client = openai.AsyncOpenAI(base_url=f"{cluster.url('gateway')}/v1", api_key="none", max_retries=0, timeout=60)
    async with client:
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": "What is 7 times 8?"}], temperature=0
        )
        alone = await client.chat.completions.create(
            model="large", messages=[{"role": "user", "content": "What is 7 times 8?"}], temperature=0
        )

    assert raw.parse().choices[0].message.content == "7 times 8 is 56."
    assert raw.headers["x-smallfirst-cascade"] == "auto"
    assert alone.choices[0].message.content


@pytest.mark.parametrize("kind", ["startupProbe", "readinessProbe", "livenessProbe"])
async def test_every_probe_is_answered(cluster: Cluster, kind: str) -> None:
    for name in cluster.pods:
        await probed(cluster, name, kind)


async def test_the_metric_that_pools_are_scaled_by_is_there_for_each(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{cluster.url('gateway')}/metrics") as reply:
        text = await reply.text()

    for tier in yaml.safe_load(cluster.manifests.config)["tiers"]:
        assert f'smallfirst_tier_demand_tokens_per_second{{tier="{tier}"}}' in text
