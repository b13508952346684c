"""What `smallfirst doctor` finds, and what it says to do."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.scripted import Script, ScriptedServer

from server.doctor.keeping import of_store
from server.doctor.servers import clock_of
from server.settings.store import StoreSettings

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def doctor(folder: Path, small: str, large: str, *options: str, **tiers: object) -> tuple[int, str]:
    """The exit code, and all that it printed."""
    config = folder / "pair.yaml"
    config.write_text(json.dumps({
        "tiers": {
            "small": {"model": "scripted", "price": {"input": 1.0, "output": 2.0}, "urls": [small]},
            "large": {"model": "scripted", "price": {"input": 10.0, "output": 20.0}, "urls": [large], **tiers},
        },
        "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5}},
        "store": {"folder": str(folder / "store")},
    }))  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("smallfirst"), "doctor", config, *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_pair_that_is_well(stack: AsyncExitStack, tmp_path: Path) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script()))
    large = await stack.enter_async_context(ScriptedServer(Script(speculation="handover")))

    code, said = await doctor(tmp_path, small.url, large.url)

    assert code == 0
    assert f"ok tier small, {small.url}: serves scripted, up to 4096 tokens" in said
    assert f"ok tier large, {large.url}: answers, with log-probabilities of 1 tokens" in said
    assert "ok cascade auto: its tiers have one tokenizer" in said
    assert "ok cascade auto: large verifies drafts that it is handed" in said
    assert "ok store" in said
    assert "->" not in said


async def test_each_problem_comes_with_its_fix(stack: AsyncExitStack, tmp_path: Path) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script(served="another")))

    code, said = await doctor(tmp_path, small.url, "http://127.0.0.1:1")

    assert code == 1
    assert f"XX tier small, {small.url}: does not serve 'scripted', but another, adapter" in said
    assert "-> set tiers.small.model to a name that it serves, or start vLLM with --served-model-name scripted" in said
    assert "XX tier large, http://127.0.0.1:1: cannot be reached" in said
    assert "-> start it, or correct tiers.large.urls: `curl http://127.0.0.1:1/v1/models`" in said


@pytest.mark.parametrize("script", [Script(logprobs=False), Script(degenerate=True)])
async def test_log_probabilities_that_say_nothing(stack: AsyncExitStack, tmp_path: Path, script: Script) -> None:
    small = await stack.enter_async_context(ScriptedServer(script))
    large = await stack.enter_async_context(ScriptedServer(Script()))

    code, said = await doctor(tmp_path, small.url, large.url)

    assert code == 0
    assert f"!! tier small, {small.url}: answers, but its log-probabilities say nothing" in said


async def test_tokenizers_that_differ_and_drafts_that_nobody_takes(stack: AsyncExitStack, tmp_path: Path) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script(first_token_id=100)))
    large = await stack.enter_async_context(ScriptedServer(Script(first_token_id=500)))

    code, said = await doctor(tmp_path, small.url, large.url)

    assert code == 0
    assert "!! cascade auto: its tiers have different tokenizers" in said
    assert "!! cascade auto: large does not take drafts: rejected ones are thrown away" in said


async def test_a_name_that_leads_nowhere(stack: AsyncExitStack, tmp_path: Path) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script()))

    code, said = await doctor(tmp_path, small.url, "http://no-such-host.invalid:8000")

    assert code == 1
    assert "XX tier large: http://no-such-host.invalid:8000: the name leads nowhere" in said


async def test_the_same_as_json(stack: AsyncExitStack, tmp_path: Path) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script()))

    _, said = await doctor(tmp_path, small.url, small.url, "--json")

    assert {
        "level": "good",
        "about": "cascade auto",
        "said": "its tiers have one tokenizer",
        "fix": None,
    } in json.loads(said)


def test_a_store_that_is_not_there_yet_stays_so_for_the_user_whose_it_will_be(tmp_path: Path) -> None:
    settings = StoreSettings(folder=tmp_path / "var" / "smallfirst")

    findings = asyncio.run(of_store(settings, None))

    assert [finding.level for finding in findings] == ["good"]
    assert list(tmp_path.iterdir()) == []


async def test_a_store_that_cannot_be_written(stack: AsyncExitStack, tmp_path: Path) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script()))
    (tmp_path / "store").write_text("a file where a folder is wanted")

    code, said = await doctor(tmp_path, small.url, small.url)

    assert code == 1
    assert "XX store" in said


async def test_a_wrong_configuration_is_told_as_check_does(tmp_path: Path) -> None:
    code, said = await doctor(tmp_path, "http://127.0.0.1:1/v1", "http://127.0.0.1:1")

    assert code == 2
    assert "give it without /v1" in said


def test_clocks_that_differ() -> None:
    assert clock_of("x", "Sun, 01 Mar 2026 12:00:03 GMT", NOW) == []
    assert clock_of("x", "rubbish", NOW) == []
    assert clock_of("x", None, NOW) == []

    (finding,) = clock_of("x", "Sun, 01 Mar 2026 11:58:00 GMT", NOW)

    assert finding.level == "warning"
    assert "120 s apart" in finding.said
