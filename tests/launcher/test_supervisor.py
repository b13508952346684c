"""Programs that end, hang, cannot start or start others: real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.launcher.program import Program, engine_command, flags, free_ports
from models.launcher.supervisor import CannotStart, Supervisor, run_in_turn

HEALTHY = (
    "import sys; from http.server import HTTPServer, SimpleHTTPRequestHandler as Handler;"
    "HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()"
)
WITH_A_CHILD = """
import subprocess, sys, signal
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child.wait()
"""


def program(code: str, *args: str, port: int = 1) -> Program:
    """Some Python, as a program."""
    return Program("test", (sys.executable, "-u", "-c", code, *args), f"http://127.0.0.1:{port}/", 30.0)


def named(name: str, some: Program, after: tuple[str, ...] = ()) -> Program:
    """The program under another name, to be started after others."""
    return replace(some, name=name, after=after)


async def cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel them, and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], object]) -> None:
    """Wait for it, within reason."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - processes have no event
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_program_that_dies_is_started_again() -> None:
    (port,) = free_ports(1)
    lines: list[str] = []
    code = f"import os; print('pid', os.getpid(), flush=True); {HEALTHY}"
    supervisor = Supervisor(program(code, str(port), port=port), print_line=lambda _name, line: lines.append(line))
    running = asyncio.create_task(supervisor.run())
    await supervisor.healthy.wait()

    first = int(next(line for line in lines if line.startswith("pid")).split()[1])
    os.kill(first, signal.SIGKILL)

    await until(lambda: sum(line.startswith("pid") for line in lines) == 2)
    await supervisor.healthy.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_program_whose_child_holds_its_output_open_is_started_again() -> None:
    (port,) = free_ports(1)
    lines: list[str] = []
    sleeper = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    code = f"{sleeper}\nimport os; print('pid', os.getpid(), flush=True)\n{HEALTHY}"
    supervisor = Supervisor(program(code, str(port), port=port), print_line=lambda _name, line: lines.append(line))
    running = asyncio.create_task(supervisor.run())
    await supervisor.healthy.wait()

    os.kill(int(next(line for line in lines if line.startswith("pid")).split()[1]), signal.SIGKILL)

    await until(lambda: sum(line.startswith("pid") for line in lines) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_stopping_leaves_nothing_behind_not_even_what_ignores_it() -> None:
    lines: list[str] = []
    supervisor = Supervisor(program(WITH_A_CHILD), print_line=lambda _name, line: lines.append(line), stop_s=0.5)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: lines)
    child = int(lines[0].split()[1])
    assert is_running(child)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    await until(lambda: not is_running(child))


@pytest.mark.parametrize(
    ("code", "says"), [("raise SystemExit(2)", "exit code 2"), ("raise SystemExit(1)", "exit code 1")]
)
async def test_a_program_that_never_gets_healthy_is_given_up(code: str, says: str) -> None:
    supervisor = Supervisor(program(code), print_line=lambda _name, _line: None)

    with pytest.raises(CannotStart, match=says):
        await asyncio.wait_for(supervisor.run(), 60)


async def test_a_program_starts_when_the_one_before_is_healthy(tmp_path: Path) -> None:
    port, other_port = free_ports(2)
    lines: dict[str, str] = {}
    go = tmp_path / "go"
    waits = f"import os, time\nprint('begun')\nwhile not os.path.exists({str(go)!r}): time.sleep(.01)\n"
    asking = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/').status)\n{HEALTHY}"
    programs = [
        named("first", program(waits + HEALTHY, str(port), port=port)),
        named("second", program(asking, str(other_port), port=other_port), after=("first",)),
    ]
    supervisors = [Supervisor(one, print_line=lines.setdefault) for one in programs]
    running = [asyncio.create_task(run_in_turn(supervisors, one.name)) for one in programs]

    await until(lambda: "first" in lines)
    assert "second" not in lines
    go.touch()

    await until(supervisors[1].healthy.is_set)
    assert lines["second"] == "200"
    await cancelled(running)


async def test_one_that_cannot_start_does_not_leave_others_waiting() -> None:
    lines: dict[str, str] = {}
    programs = [
        named("first", program("raise SystemExit(2)")),
        named("second", program("print('begun')"), after=("first",)),
    ]
    supervisors = [Supervisor(one, print_line=lines.setdefault) for one in programs]

    with pytest.RaisesGroup(pytest.RaisesExc(CannotStart, match="'first' does not start")):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for one in programs:
                group.create_task(run_in_turn(supervisors, one.name))

    assert lines == {}


async def test_a_program_that_is_not_there_is_said_to_be_missing() -> None:
    missing = Program("large", ("/nowhere/vllm", "serve"), "http://127.0.0.1:1/", 5.0)

    with pytest.raises(CannotStart, match="'large': /nowhere/vllm: No such file"):
        await Supervisor(missing, print_line=lambda _name, _line: None).run()


def test_flags_are_written_as_engines_take_them() -> None:
    assert flags({"a-b": 1, "on": True, "off": False, "default": None, "x": "y z"}) == [
        "--a-b", "1", "--on", "--no-off", "--x", "y z"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "written"),
    [
        ({"max-model-len": 8192}, ["--disable-uvicorn-access-log", "--max-model-len", "8192"]),
        ({"disable-uvicorn-access-log": False}, ["--no-disable-uvicorn-access-log"]),
    ],
)
def test_vllm_is_started_by_its_own_script_and_quietly(args, written: list[str]) -> None:
    command = engine_command("vllm", "Qwen/Qwen3-8B", model="q", port=7, args=args, executable="/opt/vllm")

    assert command == (
        "/opt/vllm", "serve", "Qwen/Qwen3-8B", "--served-model-name", "q", "--host", "127.0.0.1", "--port", "7",
        *written,
    )  # fmt: skip
