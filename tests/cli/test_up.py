"""`smallfirst up` with engines that stand in for vLLM: real processes that serve `/health` alone."""

import asyncio
import os
import signal
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import aiohttp
import pytest
import yaml
from fakes.certificates import certified

from models.launcher.program import free_ports
from models.launcher.supervisor import answers

SMALLFIRST = Path(sys.executable).with_name("smallfirst")
HANDOVER = {"method": "handover"}
STAND_IN = f"""#!{sys.executable}
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

print("begins", *sys.argv[1:], flush=True)
if sys.argv[2] == "wrong":
    sys.exit(2)
while sys.argv[2] == "slow":
    time.sleep(60)
server = HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Healthy)
print("listens", flush=True)
server.serve_forever()
"""


async def test_engines_that_share_a_gpu_start_one_after_the_other(tmp_path: Path) -> None:
    process = await up(tmp_path, small="good", large="good")

    said = await read_until(process, "ready:")
    await stopped(process, signal.SIGTERM)

    lines = said.splitlines()
    assert place(lines, "small", "listens") < place(lines, "large", "begins")
    assert '"num_speculative_tokens": 16}' in lines[place(lines, "large", "begins")]


async def test_engines_with_gpus_of_their_own_do_not_wait(tmp_path: Path) -> None:
    process = await up(tmp_path, small="slow", large="good", gpu="1")

    said = await read_until(process, "listens")
    await stopped(process, signal.SIGTERM)

    assert "large" in said.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_up_can_be_stopped_while_an_engine_waits(tmp_path: Path, number: signal.Signals) -> None:
    process = await up(tmp_path, small="slow", large="good")

    said = await read_until(process, "begins")
    said += await stopped(process, number)

    assert process.returncode == 0
    assert "large   | " not in said


async def test_an_engine_that_cannot_start_ends_those_that_wait_for_it(tmp_path: Path) -> None:
    process = await up(tmp_path, small="wrong", large="good")

    said = await read_until(process, "error:")
    await asyncio.wait_for(process.wait(), 30)

    assert process.returncode == 1
    assert "error: 'small' does not start (exit code 2)" in said
    assert "large   | " not in said


async def test_the_gateway_of_up_reads_its_configuration_again(tmp_path: Path) -> None:
    process = await up(tmp_path, small="good", large="good", gpu="1")
    await read_until(process, "ready:")
    file = tmp_path / "up.yaml"

    file.write_text(file.read_text() + "cascades: {auto: {tiers: [small, large], threshold: 0.5}}\n")
    process.send_signal(signal.SIGHUP)
    said = await read_until(process, '"reloaded":true')
    file.write_text(file.read_text() + "nothing: known\n")
    process.send_signal(signal.SIGHUP)
    said += await read_until(process, "configuration not reloaded")
    said += await stopped(process, signal.SIGTERM)

    assert process.returncode == 0
    assert "begins" not in said
    assert "nothing: unknown key" in said


async def test_a_drafter_that_does_not_fit_is_told_and_nothing_starts(tmp_path: Path) -> None:
    for name, vocabulary in (("good", 1000), ("better", 1024)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"vocab_size": {vocabulary}}}')
    process = await up(tmp_path, small="good", large="better", speculation={"method": "drafter", "tier": "small"})

    said = await read_until(process, "\n")
    await asyncio.wait_for(process.wait(), 30)

    assert process.returncode == 2
    assert "error: tiers.large.engine.speculation: the drafter has a vocabulary of 1000 tokens" in said


async def test_up_keeps_a_gateway_that_serves_https(tmp_path: Path) -> None:
    certified(tmp_path)
    tls = {"certificate": "cert.pem", "key": "key.pem"}
    process = await up(tmp_path, small="good", large="good", server={"tls": tls})

    said = await read_until(process, "ready:")
    url = said.rpartition("ready: ")[2].partition("/v1")[0]
    trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health", ssl=trusting) as reply:
        status = reply.status
    await stopped(process, signal.SIGTERM)

    assert url.startswith("https://127.0.0.1:")
    assert status == 200


async def test_another_certificate_than_the_gateways_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ours, others = certified(tmp_path), certified(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours / "cert.pem", ours / "key.pem")
    told = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

    async def healthy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(healthy, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/health"
        await asyncio.wait_for(answers(url, ours / "cert.pem"), 20)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answers(url, others / "cert.pem"), 0.5)


async def up(
    folder: Path, *, small: str, large: str, gpu: str = "0", speculation: dict[str, str] | None = None,
    server: dict[str, object] | None = None,
) -> Process:  # fmt: skip
    """`smallfirst up` with two engines, the small one on the first GPU; each path says how the stand-in behaves."""
    vllm = folder / "vllm"
    vllm.write_text(STAND_IN)
    vllm.chmod(0o700)
    tier = {"model": "m", "price": {"input": 1, "output": 1}}
    engine = {"kind": "vllm", "executable": str(vllm)}
    first = {**engine, "path": small, "env": {"CUDA_VISIBLE_DEVICES": "0"}}
    second = {**engine, "path": large, "env": {"CUDA_VISIBLE_DEVICES": gpu}, "speculation": speculation or HANDOVER}
    tiers = {"small": {**tier, "engine": first}, "large": {**tier, "engine": second}}
    file = folder / "up.yaml"
    listening = {"port": free_ports(1)[0], **(server or {})}
    file.write_text(yaml.safe_dump({"tiers": tiers, "server": listening}, sort_keys=False))
    return await asyncio.create_subprocess_exec(SMALLFIRST, "up", file, env=os.environ, stderr=PIPE)


async def read_until(process: Process, word: str) -> str:
    """What the command says, up to the line that has the word."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(60):
        while word not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    return said


async def stopped(process: Process, number: signal.Signals) -> str:
    """What the command says between the signal and its end, which must come soon."""
    process.send_signal(number)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    return said.decode()


def place(lines: list[str], name: str, word: str) -> int:
    """Which line an engine said the word in."""
    return next(at for at, line in enumerate(lines) if line.startswith(f"{name:<7} | {word}"))
