"""Real vLLM servers for the tests: processes on free ports that serve the demo's models on a CPU, gone at the end."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai

from models.launcher.program import Flag, engine_command, free_ports
from models.launcher.supervisor import die_with_parent, signal_group, stop

REPOSITORY = Path(__file__).parents[2]
EXECUTABLE = REPOSITORY / ".venv-vllm/bin/vllm"
WEIGHTS = REPOSITORY / "models/demo/weights"
START_S = 300.0
STOP_S = 5.0
LOG_TAIL = 10_000

QUICK_START: Mapping[str, Flag] = {
    "enforce-eager": True,
    "distributed-executor-backend": "uni",
    "kv-cache-memory-bytes": 64 * 2**20,
    "block-size": 32,
    "max-model-len": 1024,
    "dtype": "float32",  # in bfloat16 two tokens are often equally likely, and equal answers an accident
    "disable-uvicorn-access-log": True,
}
ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TORCHDYNAMO_DISABLE": "1",  # a C++ compiler would be needed, and at the first log-probabilities five seconds
    # Without these, glibc returns the memory of large tensors to the system at every step.
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}


@dataclass(frozen=True)
class VllmServer:
    """A running server, the name of its model, and what it logged."""

    model: str
    url: str
    process: Process
    log: Path
    api_key: str | None = None
    http: httpx.AsyncClient = field(repr=False, kw_only=True)
    client: openai.AsyncOpenAI = field(repr=False, kw_only=True)

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples, whatever their labels."""
        text = (await self.http.get("/metrics")).text
        samples = [line for line in text.splitlines() if line.partition("{")[0] == name]
        return sum(float(sample.rpartition(" ")[2]) for sample in samples)

    async def running(self) -> int:
        """How many requests it works on, or keeps waiting."""
        return int(await self.metric("vllm:num_requests_running") + await self.metric("vllm:num_requests_waiting"))

    async def until_running(self, count: int) -> None:
        """Return once it has just so many requests; an AssertionError if that does not come."""
        seen = -1
        try:
            async with asyncio.timeout(20):
                while (seen := await self.running()) != count:  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{self.url} never had {count} requests, but {seen}") from None

    async def ask(self, prompt: str, **options):
        """Its own reply to one question, greedy and by no gateway."""
        return await self.client.chat.completions.create(**question(prompt, self.model, options))

    async def answers(self) -> bool:
        """Whether it still answers a plain question."""
        return bool((await self.ask("What is 7 times 8?", max_tokens=4, logprobs=True)).choices[0].message.content)

    def kill(self) -> None:
        """As a crash would: no goodbye, connections broken."""
        signal_group(self.process, signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It holds its connections and says nothing, until the block ends."""
        signal_group(self.process, signal.SIGSTOP)
        try:
            yield
        finally:
            signal_group(self.process, signal.SIGCONT)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:]


def question(prompt: str, model: str, options: Mapping[str, object]) -> dict[str, object]:
    """A chat request of one turn, greedy where `options` do not say otherwise."""
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, **options}


@contextlib.asynccontextmanager
async def vllm_server(
    model: str,
    folder: Path,
    *,
    args: Mapping[str, Flag] | None = None,
    environment: Mapping[str, str] | None = None,
    api_key: str | None = None,
) -> AsyncIterator[VllmServer]:
    """`async with vllm_server("large", tmp_path) as server:` serves one of the demo's models under its
    name; `args` are flags as in the configuration, `folder` gets the log."""
    assert EXECUTABLE.exists(), (
        f"{EXECUTABLE} is not there: `make test` installs vLLM, or `make .venv-vllm/handover.done`"
    )
    (port,) = free_ports(1)
    command = engine_command(
        "vllm", str(WEIGHTS / model), model=model, port=port,
        args={**QUICK_START, **(args or {}), "api-key": api_key}, executable=str(EXECUTABLE),
    )  # fmt: skip
    log = folder / f"{model}-{port}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **ENVIRONMENT, **(environment or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with (
            httpx.AsyncClient(base_url=url, timeout=30) as http,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=api_key or "none", max_retries=0, timeout=60) as client,
        ):
            server = VllmServer(model, url, process, log, api_key, http=http, client=client)
            await until_healthy(server)
            assert await server.answers(), "the first answer takes seconds: not on a test's time"
            yield server
    finally:
        await stop(process, STOP_S)


async def until_healthy(server: VllmServer) -> None:
    """Wait until it answers; an AssertionError with its log where it ends instead, or takes too long."""
    try:
        async with asyncio.timeout(START_S):
            while not await is_healthy(server):
                assert server.process.returncode is None, f"vLLM ended instead of starting:\n{server.last_words()}"
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"vLLM did not start within {START_S:g} s:\n{server.last_words()}") from None


async def is_healthy(server: VllmServer) -> bool:
    """Whether /health says so."""
    try:
        return (await server.http.get("/health")).status_code == 200
    except httpx.TransportError:
        return False
