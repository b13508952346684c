"""The page for operators: each of its lines, one after the other, on a machine with PostgreSQL and Redis."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import yaml
from fakes.postgres import cluster
from fakes.redis import running_redis
from fakes.waiting import until_ok

from models.demo.files import WEIGHTS
from models.launcher.program import free_ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
QUESTIONS = 500
WITHIN_S = 400


def test_every_alert_is_on_the_page() -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]

    assert alerts == re.findall(r"^\| `(Smallfirst\w+)` \|", PAGE, re.MULTILINE)


async def test_every_line_does_what_it_says(tmp_path: Path) -> None:
    gateway, admin = free_ports(2)
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("8080", str(gateway)).replace("8081", str(admin))
    async with AsyncExitStack() as stack:
        (tmp_path / "redis").mkdir()
        databases = stack.enter_context(cluster())
        environment = {
            **os.environ, "CHECKOUT": str(ROOT), "SMALLFIRST_SERVER__PORT": str(gateway),
            "SMALLFIRST_SERVER__ADMIN__PORT": str(admin), "OMP_NUM_THREADS": "1",
            "DATABASE_URL": databases.url(databases.new_database()),
            "REDIS_URL": (await stack.enter_async_context(running_redis(tmp_path / "redis"))).url,
        }  # fmt: skip
        for name in ("small", "large"):
            url = await stack.enter_async_context(engine(name))
            environment |= {f"{name.upper()}_URL": url, f"{name.upper()}_MODEL": f"smallfirst-demo-{name}"}
        await ran(
            f"{SMALLFIRST} demo questions --split threshold --count {QUESTIONS} > prompts.jsonl", tmp_path, environment
        )

        said = await ran(lines, tmp_path, environment)

    assert len(blocks) == 9
    assert "mode certified" in said or "(certified: " in said
    assert re.search(r'smallfirst_requests_total\{cascade="auto",.*status="200".*\} 1\.0', said)
    assert "7 times 8 is 56." in said
    assert (tmp_path / "report.html").stat().st_size > 10_000


@asynccontextmanager
async def engine(name: str) -> AsyncIterator[str]:
    """One of the demo pair, where the page has vLLM."""
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        SMALLFIRST, "engine", WEIGHTS / name, "--served-model-name", f"smallfirst-demo-{name}", "--port", str(port),
        "--threads", "1", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        await until_ok(f"{url}/health", within_s=120)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def ran(lines: str, folder: Path, environment: dict[str, str]) -> str:
    """What a shell says to these lines, of which each has to do; whatever it started ends with it."""
    said = folder / "said"
    with said.open("wb") as into:
        process = await asyncio.create_subprocess_exec(
            "bash", "-eu", "-o", "pipefail", "-c", lines, cwd=folder, env=environment, start_new_session=True,
            stdout=into, stderr=into,
        )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            code = await process.wait()
    finally:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, said.read_text()[-4000:]
    return said.read_text()
