"""vLLM servers, started one after the other and stopped at the end."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import aiohttp

from models.launcher.program import free_ports
from models.launcher.supervisor import die_with_parent, stop

HANDOVER = "smallfirst_handover.proposer.Proposer"
START_S = 900
STOP_S = 30
LAST_WORDS = 8000
CPU_FLAGS = [
    "--enforce-eager", "--distributed-executor-backend=uni", f"--kv-cache-memory-bytes={128 * 2**20}",
    "--block-size=32", "--max-model-len=1024",
]  # fmt: skip
CPU_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # with the executor `uni`: no worker process beside the engine's
    "TORCHDYNAMO_DISABLE": "1",
    # Without these, glibc returns the memory of large tensors to the system at every step.
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}
UNCORRECTED = {"VLLM_PLUGINS": ""}  # the handover's package is installed, but vLLM's own sampler is left as it is


@dataclass(frozen=True)
class Setting:
    """How all servers of a run are started."""

    vllm: Path
    device: str
    dtype: str
    flags: Sequence[str]

    def command(self, model: str, port: int, speculation: Mapping[str, object] | None) -> list[str]:
        """The command line. Without prefix caching every answer is computed from its first token on."""
        speculating = ["--per-request-spec-decode-metrics=summary", f"--speculative-config={json.dumps(speculation)}"]
        return [
            str(self.vllm), "serve", model, "--served-model-name=model", "--host=127.0.0.1", f"--port={port}",
            f"--dtype={self.dtype}", "--no-enable-prefix-caching", *(speculating if speculation else []),
            *(CPU_FLAGS if self.device == "cpu" else []), *self.flags,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """On a GPU nothing but the caller's own."""
        return {**os.environ, "VLLM_NO_USAGE_STATS": "1", **(CPU_ENVIRONMENT if self.device == "cpu" else {})}


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    http: aiohttp.ClientSession = field(repr=False)

    async def post(self, path: str, body: Mapping[str, object]) -> dict:
        """The reply's JSON."""
        async with self.http.post(path, json=body) as reply:
            said = await reply.json()
            if reply.status != 200:
                raise RuntimeError(f"{self.name} answers {reply.status}: {said}")
            return said

    async def get(self, path: str) -> dict:
        """The reply's JSON."""
        async with self.http.get(path) as reply:
            return await reply.json()

    async def counter(self, name: str) -> int:
        """A metric, summed over its labels."""
        async with self.http.get("/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.split("{")[0] == name))


@contextlib.asynccontextmanager
async def serving(
    name: str,
    model: str,
    setting: Setting,
    *,
    speculation: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """A server of this model for as long as the block lasts; its log is printed if it does not start."""
    (port,) = free_ports(1)
    command, whole_environment = setting.command(model, port, speculation), setting.environment() | (environment or {})
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=whole_environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        try:
            timeout = aiohttp.ClientTimeout(total=600)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http:
                await until_healthy(http, process, log)
                yield Server(name, http)
        finally:
            await stop(process, STOP_S)


async def until_healthy(http: aiohttp.ClientSession, process: asyncio.subprocess.Process, log: BinaryIO) -> None:
    """Wait for it to answer."""
    async with asyncio.timeout(START_S):
        while True:
            if process.returncode is not None:
                log.seek(0)
                raise SystemExit(
                    f"vLLM ended instead of starting:\n{log.read().decode(errors='replace')[-LAST_WORDS:]}"
                )
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get("/health") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.2)
