"""Clients that leave, engines that are full, and processes that are told to stop."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator

import httpx
import pytest

ENDLESS = {"prompt": [5, 6, 7], "max_tokens": 500, "temperature": 0, "ignore_eos": True}
POLLS = 500


async def until(http: httpx.AsyncClient, *, running: int, waiting: int = 0) -> None:
    """Return once the engine has just so many sequences; fail if that does not come."""
    for _ in range(POLLS):
        if (running, waiting) == (await gauge(http, "running"), await gauge(http, "waiting")):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"the engine never had {running} running and {waiting} waiting")


async def gauge(http: httpx.AsyncClient, state: str) -> int:
    metrics = (await http.get("/metrics")).text
    name = f'vllm:num_requests_{state}{{model_name="tiny"}} '
    return int(float(metrics.partition(f"\n{name}")[2].partition("\n")[0]))


@pytest.fixture
async def narrow(parrot_engine) -> AsyncIterator[httpx.AsyncClient]:
    """An idle engine with one place and one in line."""
    async with parrot_engine.http() as http:
        await until(http, running=0)
        yield http


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_client_that_leaves_frees_its_place(narrow, streaming) -> None:
    asking = asyncio.create_task(narrow.post("/v1/completions", json=ENDLESS | {"stream": streaming}))
    await until(narrow, running=1)
    before = (await narrow.get("/metrics")).text

    asking.cancel()

    await until(narrow, running=0)
    after = (await narrow.get("/metrics")).text
    assert finished(before) == finished(after)


async def test_a_client_that_leaves_the_line_is_never_served(narrow) -> None:
    first = asyncio.create_task(narrow.post("/v1/completions", json=ENDLESS))
    await until(narrow, running=1)
    second = asyncio.create_task(narrow.post("/v1/completions", json=ENDLESS))
    await until(narrow, running=1, waiting=1)

    second.cancel()

    await until(narrow, running=1, waiting=0)
    first.cancel()


async def test_one_request_too_many_is_told_so(narrow) -> None:
    patient = [asyncio.create_task(narrow.post("/v1/completions", json=ENDLESS)) for _ in range(2)]
    await until(narrow, running=1, waiting=1)

    reply = await narrow.post("/v1/completions", json=ENDLESS)

    assert reply.status_code == 503
    assert reply.json()["error"]["type"] == "Service Unavailable"
    for task in patient:
        task.cancel()
    await until(narrow, running=0)
    assert (await narrow.post("/v1/completions", json=ENDLESS | {"max_tokens": 2})).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything_quietly(start_engine, noise, tmp_path, number) -> None:
    folder = shutil.copytree(noise.folder, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with start_engine(folder) as engine:
        async with engine.http() as http:
            await assert_chat_is_refused(http)
            whole = asyncio.create_task(http.post("/v1/completions", json=ENDLESS))
            async with http.stream("POST", "/v1/completions", json=ENDLESS | {"stream": True}) as cut:
                await until(http, running=2)
                engine.process.send_signal(number)
                told = (await cut.aread()).decode()

            assert (await whole).status_code == 503
        assert engine.process.wait(2) == 0
        assert "shutting down" in told
        assert "[DONE]" in told
        assert "Traceback" not in engine.log.read_text()


def test_a_model_that_is_not_there_is_one_line_and_code_2(run_engine) -> None:
    assert_one_line(run_engine("/no/such/model"), "cannot load model '/no/such/model'")


def test_a_folder_without_a_model_is_one_line_and_code_2(run_engine, tmp_path) -> None:
    assert_one_line(run_engine(tmp_path), "cannot load model ")


def test_a_port_that_is_taken_is_one_line_and_code_2(run_engine, noise_engine, noise) -> None:
    port = int(noise_engine.url.rpartition(":")[2])

    assert_one_line(run_engine(noise.folder, port=port), "cannot listen on 127.0.0.1")


def assert_one_line(ended: subprocess.CompletedProcess[str], start: str) -> None:
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"smallfirst engine: {start}")
    assert ended.stderr.count("\n") == 1


async def assert_chat_is_refused(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/chat/completions", json={"messages": []})

    assert reply.status_code == 400
    assert "no chat template" in reply.json()["error"]["message"]


def finished(metrics: str) -> list[str]:
    return [line for line in metrics.splitlines() if line.startswith("vllm:request_success_total")]
