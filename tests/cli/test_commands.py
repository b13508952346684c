"""The commands as a person runs them: real processes, real terminals' ends."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import openai
import pytest
from fakes.scripted import Script, ScriptedServer

from models.launcher.program import free_ports

SMALLFIRST = Path(sys.executable).with_name("smallfirst")


async def run(*arguments: str, typed: str = "", **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    process = await asyncio.create_subprocess_exec(
        SMALLFIRST, *arguments, env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_chat_shows_the_answer_who_gave_it_and_what_it_cost(gateway) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.9), large=Script("no"))

    code, out, _ = await run("chat", "--url", cascade.url, typed="is it?\nand now?\n", COLUMNS="200")

    assert code == 0
    assert out.count("yes it is") == 2
    assert (
        "small (sure, confidence 0.900000, threshold 0.500000); cost 1.6e-05, the final tier alone about 0.00016" in out
    )
    assert [message["role"] for message in cascade.small.seen[-1]["messages"]] == ["user", "assistant", "user"]


async def test_chat_goes_on_after_an_error(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script(status=401))

    code, out, _ = await run("chat", "--url", cascade.url, typed="is it?\n", COLUMNS="200")

    assert code == 0
    assert "error: the gateway's model is misconfigured: tell its operator" in out


async def test_chat_without_a_gateway_says_how_to_start_one() -> None:
    code, out, _ = await run("chat", "--url", "http://127.0.0.1:1", typed="hello\n", COLUMNS="200")

    assert code == 1
    assert "no gateway answers at http://127.0.0.1:1: start one with `smallfirst up`" in out


@pytest.mark.parametrize("command", ["serve", "up", "check"])
async def test_a_wrong_configuration_is_told_and_nothing_starts(command: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("tiers: {small: {model: x, price: {input: 1, output: 1}, urls: [http://a:1], wings: 2}}\n")

    code, out, err = await run(command, str(file))

    assert (code, out) == (2, "")
    assert err == "error: tiers.small.wings: unknown key\n"


async def test_up_does_not_take_somebody_elses_server_for_its_own() -> None:
    async with ScriptedServer(Script()) as other:
        port = other.url.rpartition(":")[2]

        code, _, err = await run("up", SMALLFIRST_SERVER__PORT=port)

    assert code == 2
    assert err.startswith(f"error: server.port: 127.0.0.1:{port} cannot be had")


async def test_serve_says_which_tier_has_nobody_to_serve_it(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("tiers: {small: {model: x, price: {input: 1, output: 1}, engine: {kind: vllm}}}\n")

    code, _, err = await run("serve", str(file))

    assert code == 2
    assert "tiers.small: has no urls" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_finishes_the_answer_that_it_is_giving(tmp_path: Path, number: signal.Signals) -> None:
    async with ScriptedServer(Script("one two three four", pause_s=0.3)) as server:
        (port,) = free_ports(1)
        file = tmp_path / "serve.yaml"
        file.write_text(
            f"tiers: {{small: {{model: scripted, price: {{input: 1, output: 1}}, urls: ['{server.url}']}}}}\n"
            f"server: {{port: {port}}}\n"
        )
        process = await asyncio.create_subprocess_exec(SMALLFIRST, "serve", file, stderr=asyncio.subprocess.DEVNULL)
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", timeout=20) as client:
            stream = await started(client)
            process.send_signal(number)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        async with asyncio.timeout(20):
            await process.wait()

    assert text == "one two three four"


async def started(client):
    """The stream of the first answer, as soon as the gateway is there to give one."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await client.chat.completions.create(
                    model="small", messages=[{"role": "user", "content": "count"}], stream=True
                )
            except openai.APIConnectionError:
                await asyncio.sleep(0.05)
