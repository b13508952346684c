"""A gateway as operators start it, in a process of its own: what its log says of hostile requests, and its memory."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from fakes.keys import issued

from models.launcher.program import free_ports

CONFIG = """
tiers: {{small: {{model: x, price: {{input: 1, output: 1}}, urls: ["http://127.0.0.1:9"]}}}}
server: {{port: {port}, auth: keys, admin: {{port: {admin}}}}}
store: {{folder: {folder}}}
"""
ASK = {"model": "small", "messages": [{"role": "user", "content": "the goose lays at midnight"}]}


SERVE = (Path(sys.executable).with_name("smallfirst"), "serve")


def environment() -> dict[str, str]:
    """Without what would override the configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SMALLFIRST_")}


@dataclass(frozen=True)
class Running:
    """A gateway and its log."""

    url: str
    admin_url: str
    pid: int
    log: Path

    def lines(self) -> list[str]:
        """All that it said."""
        return self.log.read_text().splitlines()

    def resident_kib(self) -> int:
        """How much memory it has."""
        (worker,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        status = Path(f"/proc/{worker}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Running]:
    """It runs until the block ends."""
    port, admin = free_ports(2)
    file, log = folder / "gateway.yaml", folder / "log"
    file.write_text(CONFIG.format(port=port, admin=admin, folder=folder))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*SERVE, file, stdout=output, stderr=output, env=environment())
    running = Running(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", process.pid, log)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while process.returncode is None:
                try:
                    async with session.get(f"{running.url}/health"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            await process.wait()


async def test_each_line_of_the_log_is_one_and_none_holds_a_secret(tmp_path: Path) -> None:
    key, admin = await issued(tmp_path), await issued(tmp_path, is_admin=True)
    odd = 'x\n{"event": "forged", "level": "error"}'
    async with serving(tmp_path) as gateway:
        async with aiohttp.ClientSession() as session:
            for secret in (key, admin, key[:-1] + "_", "sk-" + key):
                for headers in (
                    {"authorization": f"Bearer {secret}"},
                    {"x-api-key": secret, "x-request-id": odd.replace("\n", " ")},
                ):
                    for path in ("/v1/chat/completions", f"/v1/chat/completions?key={secret}", f"/v1/{secret}"):
                        async with session.post(gateway.url + path, json={**ASK, "model": odd}, headers=headers):
                            pass
                        async with session.post(gateway.url + path, json=ASK, headers=headers):
                            pass
            wish = {"name": odd.replace("\n", ""), "allowance": {}}
            shown = {"authorization": f"Bearer {admin}"}
            async with session.post(f"{gateway.admin_url}/admin/keys", json=wish, headers=shown) as reply:
                made = (await reply.json())["key"]
        _, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nbad header\r\n\r\n" + key.encode())
        await writer.drain()
        writer.close()

    told = gateway.lines()
    assert len(told) > 20
    assert [json.loads(line)["event"] for line in told].count("forged") == 0
    for secret in (key, admin, made):
        assert not any(secret[12:40] in line for line in told)
    assert not any("goose" in line for line in told)


async def test_slow_and_silent_clients_take_little_memory(tmp_path: Path) -> None:
    """Five hundred connections: some say nothing, some drip headers, some send half a large body without a key."""
    await issued(tmp_path)
    async with serving(tmp_path) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        begin = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        large = begin + b"content-length: 20000000\r\n\r\n" + b"x" * 200_000
        before = gateway.resident_kib()
        connections = []
        for number in range(500):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            connections.append(writer)
            writer.write((b"", begin + b"x: " + b"y" * 30_000, large)[number % 3])
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/health") as reply:
            assert reply.status == 200
        grown_kib = gateway.resident_kib() - before
        for writer in connections:
            writer.transport.abort()

    assert grown_kib < 100 * 1024


@pytest.mark.parametrize(
    ("server", "mistake"),
    [
        ("{host: 0.0.0.0, port: %d}", "anyone who reaches '0.0.0.0'"),
        ("{port: %d, auth: keys, admin: {host: 0.0.0.0, port: 80808}}", "server.admin.port"),
        ("{port: %d, oidc: {issuer: 'https://a.example', audience: a, allowances: {a: {}}}}", "say `auth: keys`"),
        ("{port: %d, auth: keys, oidc: {issuer: 'http://a.example', audience: a, allowances: {a: {}}}}", "https://"),
        ("{port: %d, auth: keys, oidc: {issuer: 'https://a.example', audience: a, algorithms: [HS256],"
         " allowances: {a: {}}}}", "algorithms"),
        ("{port: %d, auth: keys, oidc: {issuer: 'https://a.example', audience: a, algorithms: [none],"
         " allowances: {a: {}}}}", "algorithms"),
        ("{port: %d, auth: keys, oidc: {issuer: 'https://a.example', audience: a,"
         " allowances: {a: {models: [nobody]}}}}", "no cascade or tier 'nobody'"),
        ("{port: %d, auth: keys, oidc: {issuer: 'https://a.example', audience: a, allowances: {a: {}, b: {}}}}",
         "claim: is missing"),
        ("{port: %d, cors: ['*']}", "origin"), ("{port: %d, cors: ['https://a.example/']}", "origin"),
        ("{port: %d, tls: {certificate: nothing.pem, key: nothing.pem}}", "there is no file"),
        ("{port: %d, admin: {host: 0.0.0.0}}", "anyone could administer"),
        ("{port: %d, host: 0.0.0.0, auth: none, admin: {on_main: true}}", "anyone could administer"),
        ("{port: 8081, auth: keys}", "server.admin.port"),
    ],
)  # fmt: skip
async def test_a_gateway_that_would_be_open_does_not_start(tmp_path: Path, server: str, mistake: str) -> None:
    (port,) = free_ports(1)
    told = server % port if "%d" in server else server
    config = CONFIG.format(port=1, admin=2, folder=tmp_path).partition("server:")[0] + f"server: {told}\n"

    file = tmp_path / "gateway.yaml"
    file.write_text(config, encoding="utf-8")

    process = await asyncio.create_subprocess_exec(*SERVE, file, stderr=asyncio.subprocess.PIPE, env=environment())
    async with asyncio.timeout(60):
        _, errors = await process.communicate()

    assert process.returncode == 2
    assert any(line.startswith("error: ") and mistake in line for line in errors.decode().splitlines()), errors
