"""The parent of workers that do as a test wants, as processes."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fakes.served import children_of

PARENT = """
import os, signal, sys, time
from pathlib import Path
from server.settings.schema import Settings
from server.workers.link import Gone, Word
from server.workers.parent import Parent

folder = Path(sys.argv[1])
tier = {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://a:1"]}
settings = Settings.model_validate({"tiers": {"small": tier}, "server": {"workers": 2, "hung_s": 2}})

def stuck():
    time.sleep(3600)

def work(_settings, place, link, _learned):
    how = (folder / "how").read_text()
    with (folder / "started").open("a") as started:
        started.write(how + "\\n")
    if how == "fails" or (how == "half" and place == 1):
        return 7
    link.send(Word.READY)
    if how == "hangs" and place == 1:
        stuck()
    while how != "dies":
        try:
            for word, _ in link.heard():
                with (folder / "told").open("a") as told:
                    told.write(word.name + "\\n")
                if word != Word.TELL:
                    return 0
            link.send(Word.BEAT)
        except Gone:
            return 0
        time.sleep(0.01)
    return 8

sys.exit(Parent(settings, read=lambda: settings, work=work, close=lambda: (folder / "closed").touch()).run())
"""


def lines(file: Path) -> list[str]:
    """What is in it; nothing where it is not there."""
    return file.read_text().split() if file.exists() else []


@asynccontextmanager
async def parent(folder: Path, how: str) -> AsyncIterator[Process]:
    """The process, whose workers do so."""
    (folder / "how").write_text(how)
    with (folder / "errors").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, folder, stdout=PIPE, stderr=errors)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: Process, word: str) -> str:
    """Its next line that has the word."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while word not in (line := (await process.stdout.readline()).decode()):
            assert line, f"it ended without {word}"
    return line


async def test_workers_that_do_not_start_end_the_gateway_with_an_error(tmp_path: Path) -> None:
    async with parent(tmp_path, "half") as process:
        await said(process, "cannot start")
        async with asyncio.timeout(30):
            assert await process.wait() == 3

    assert (tmp_path / "closed").exists()


async def test_workers_that_do_not_start_at_a_reload_leave_all_as_it_was(tmp_path: Path) -> None:
    async with parent(tmp_path, "serves") as process:
        await said(process, "the gateway answers")
        (tmp_path / "how").write_text("half")
        process.send_signal(signal.SIGHUP)
        assert "ended with 7" in await said(process, "configuration not reloaded")
        assert len(children_of(process.pid)) >= 2

        (tmp_path / "how").write_text("serves")
        process.send_signal(signal.SIGHUP)
        await said(process, "the gateway answers")
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()

    assert "RETIRE" in lines(tmp_path / "told")
    assert lines(tmp_path / "told").count("LEAVE") == 2


async def test_a_worker_that_dies_is_started_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    async with parent(tmp_path, "serves") as process:
        await said(process, "the gateway answers")
        (tmp_path / "how").write_text("dies")
        for pid in children_of(process.pid):
            os.kill(pid, signal.SIGKILL)
        pauses = [(await said(process, "restart_in_s")).rpartition("restart_in_s=")[2].strip() for _ in range(4)]

    assert len(set(pauses)) == 4
    assert len(lines(tmp_path / "started")) >= 4


async def test_workers_that_no_longer_start_end_the_gateway_at_last(tmp_path: Path) -> None:
    async with parent(tmp_path, "serves") as process:
        await said(process, "the gateway answers")
        (tmp_path / "how").write_text("fails")
        for pid in children_of(process.pid):
            os.kill(pid, signal.SIGKILL)

        await said(process, "cannot start")
        async with asyncio.timeout(30):
            assert await process.wait() == 3

    assert lines(tmp_path / "started").count("fails") >= 5


async def test_a_worker_that_hangs_says_where_and_another_takes_its_place(tmp_path: Path) -> None:
    async with parent(tmp_path, "hangs") as process:
        await said(process, "the gateway answers")
        first, hung = children_of(process.pid)
        (tmp_path / "how").write_text("serves")

        assert f"pid={hung}" in await said(process, "a worker hangs")
        assert "code=-9" in await said(process, "a worker ended")
        async with asyncio.timeout(30):
            while len(children_of(process.pid)) < 2:  # noqa: ASYNC110 - processes have no event
                await asyncio.sleep(0.02)

        assert first in children_of(process.pid)
        assert hung not in children_of(process.pid)
    assert "in stuck" in (tmp_path / "errors").read_text()
