"""Everything that somebody with bad intentions tries, against a gateway with keys in front of the demo pair.

    python bench/abuse/run.py        # about six minutes

What must come of it: no error of the gateway's own, nothing of another tenant's, no secret and no forged line in the
log, other clients answered meanwhile, and memory that does not grow.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from attacks import ASK, ATTACKS, Attack, Target
from wire import Reply, request, sent

from bench.rig.processes import resident_bytes, workers_of
from models.demo.files import CONFIG, WEIGHTS
from models.launcher.program import free_ports

HERE = Path(__file__).parent
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
READY_S = 120
OWN_FAILURES = (-1, 500, 501, 505)
ROUNDS = 8
GROWTH_BYTES = 16 * 2**20  # in the second half of the rounds: allocators keep of what they were given
UNLOGGED = "a question that stands in no log"


def configuration(folder: Path, ports: Mapping[str, int]) -> Path:
    """The demo's cascade, with keys."""
    shutil.copy(CONFIG.with_name("trust.json"), folder)
    price = {"small": {"input": 0.02, "output": 0.04}, "large": {"input": 0.40, "output": 1.20}}
    tiers = {
        name: {
            "model": f"smallfirst-demo-{name}", "price": price[name], "urls": [f"http://127.0.0.1:{ports[name]}"],
        }
        for name in ("small", "large")
    }  # fmt: skip
    file = folder / "abuse.yaml"
    file.write_text(json.dumps({
        "tiers": tiers,
        "cascades": {"auto": {"tiers": ["small", "large"], "trust": "trust.json"}},
        "server": {"port": ports["gateway"], "auth": "keys", "body_s": 10, "admin": {"port": ports["admin"]}},
        "store": {"folder": str(folder / "store")},
    }, indent=2))  # fmt: skip
    return file


async def process(stack: AsyncExitStack, log: Path, *command: object) -> asyncio.subprocess.Process:
    """One that ends with the block; what it says goes into a file."""
    with log.open("wb") as into:
        made = await asyncio.create_subprocess_exec(*map(str, command), stdout=into, stderr=into)

    async def end() -> None:
        if made.returncode is None:
            made.terminate()
        await made.wait()

    stack.push_async_callback(end)
    return made


async def until_it_answers(address: tuple[str, int], path: bytes) -> None:
    """Wait for a 200."""
    async with asyncio.timeout(READY_S):
        while True:
            try:
                if (await sent(address, [request(b"", path=path, method=b"GET")])).status == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.2)


async def key_of(config: Path, name: str) -> str:
    """A new key, as an operator makes one."""
    making = await asyncio.create_subprocess_exec(
        SMALLFIRST, "keys", "create", config, name, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await making.communicate()
    found = re.search(r"sf-\S+-\S+", said.decode())
    if found is None:
        raise SystemExit(f"no key was made: {said.decode()}")
    return found[0]


async def answered(target: Target, text: str = "What is 7 times 8?") -> tuple[str, float]:
    """An ordinary client's request: the response's id, and how long it took in seconds."""
    body = json.dumps({**ASK, "messages": [{"role": "user", "content": text}]}).encode()
    began_s = time.monotonic()
    reply = await sent(target.address, [request(body, target.key())])
    if reply.status != 200:
        raise SystemExit(f"an ordinary client got a {reply.status}: {reply.body[:500]!r}")
    found = re.search(rb'"id":"([^"]+)"', reply.body)
    return ("" if found is None else found[1].decode()), time.monotonic() - began_s


async def slow_readers(target: Target) -> None:
    """Clients that ask for streams and read nothing; then they go."""
    body = json.dumps({**ASK, "stream": True, "max_tokens": 200}).encode()
    opened = [await asyncio.open_connection(*target.address) for _ in range(50)]
    for _, writer in opened:
        writer.write(request(body, target.key()))
    await asyncio.sleep(3)
    for _, writer in opened:
        writer.close()


async def fuzzed(target: Target, folder: Path) -> str:
    """What Schemathesis counts, and its complaints, if it has any."""
    running = await asyncio.create_subprocess_exec(
        SCHEMATHESIS, "run", f"http://{target.host}:{target.port}/openapi.json", "-H", target.key().decode(),
        "--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,ignored_auth",
        "--phases", "coverage,fuzzing", "--max-examples", "60", "--seed", "1", "--no-color", "--warnings", "off",
        "--suppress-health-check", "all", "--continue-on-failure", "--request-timeout", "60",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await running.communicate()
    (folder / "schemathesis.log").write_bytes(said)
    counted = re.search(r"(\d+ generated, .*)", said.decode())
    return "" if counted is None else counted[1].strip()


def row_of(attack: Attack, replies: Sequence[Reply], slowest_s: float) -> dict[str, object]:
    """What came of one attack."""
    statuses = Counter(reply.status for reply in replies)
    odd = sorted(status for status in statuses if status not in attack.may_be)
    return {
        "attack": attack.name, "tries": len(replies), "statuses": dict(sorted(statuses.items())), "unexpected": odd,
        "own_failures": sum(reply.status in OWN_FAILURES for reply in replies),
        "another_client_waited_s": round(slowest_s, 2),
    }  # fmt: skip


async def attacked(attack: Attack, target: Target) -> dict[str, object]:
    """Run it, with an ordinary client beside it."""
    attacking = asyncio.create_task(attack.run(target))
    waited = []
    while not attacking.done() or not waited:
        waited.append((await answered(target))[1])
        await asyncio.sleep(0.2)
    return row_of(attack, await attacking, max(waited))


def logged(log: Path, secrets: Sequence[str]) -> dict[str, int]:
    """What should not be in the log, and how often it is."""
    lines = log.read_text(errors="replace").splitlines()
    return {
        "lines": len(lines),
        "secrets": sum(secret in line for line in lines for secret in secrets),
        "forged": sum(line.strip() == '{"event": "forged", "level": "info"}' for line in lines),
        "control_characters": sum("\x1b[31mred" in line for line in lines),
        "tracebacks": sum("Traceback" in line for line in lines),
    }


async def run(folder: Path) -> dict[str, object]:
    """Start everything, attack, look."""
    names = ("gateway", "admin", "small", "large")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    config = configuration(folder, ports)
    async with AsyncExitStack() as stack:
        for name in ("small", "large"):
            await process(stack, folder / f"{name}.log", SMALLFIRST, "engine", WEIGHTS / name, "--served-model-name",
                          f"smallfirst-demo-{name}", "--port", ports[name], "--threads", 1)  # fmt: skip
            await until_it_answers(("127.0.0.1", ports[name]), b"/health")
        ours, theirs = [await key_of(config, name) for name in ("ours", "theirs")]
        gateway = await process(stack, folder / "gateway.log", SMALLFIRST, "serve", config)
        await until_it_answers(("127.0.0.1", ports["gateway"]), b"/ready")
        target = Target("127.0.0.1", ports["gateway"], ours, theirs, "")
        response_id, _ = await answered(target, UNLOGGED)
        target = Target(target.host, target.port, ours, theirs, response_id)
        rows, memory = [], []
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS} …", flush=True)
            rows = [await attacked(attack, target) for attack in ATTACKS]
            await slow_readers(target)
            counted = await fuzzed(target, folder)
            await asyncio.sleep(5)
            memory.append(resident_bytes(workers_of(gateway.pid)))
        alive = gateway.returncode is None
        await answered(target)
    return {
        "attacks": rows, "fuzzed": counted, "memory_mib": [round(one / 2**20, 1) for one in memory], "alive": alive,
        "log": logged(folder / "gateway.log", [ours, theirs, ours.rpartition("-")[2], UNLOGGED]),
    }  # fmt: skip


def page_of(figures: dict[str, object]) -> str:
    """The result, as Markdown."""
    lines = [
        "# What somebody with bad intentions tries",
        "",
        "`python bench/abuse/run.py`: a gateway with keys before the demo pair; an ordinary client asks meanwhile.",
        f"Status 0: the connection was closed without an answer. The last of {ROUNDS} rounds.",
        "",
        "| attack | tries | answers, by status | unexpected | failures of its own | longest wait of another client |",
        "|---|--:|---|---|--:|--:|",
    ]
    for row in figures["attacks"]:
        statuses = ", ".join(f"{status} ({count})" for status, count in row["statuses"].items())
        odd = ", ".join(map(str, row["unexpected"])) or "none"
        lines.append(
            f"| {row['attack']} | {row['tries']} | {statuses} | {odd} | {row['own_failures']} |"
            f" {row['another_client_waited_s']} s |"
        )
    log, memory = figures["log"], figures["memory_mib"]
    lines += [
        "",
        f"Schemathesis, through the gateway's OpenAPI document with a key: {figures['fuzzed']}. Memory after each"
        f" round: {', '.join(map(str, memory))} MiB. The log's {log['lines']} lines hold {log['secrets']} secrets or"
        f" questions, {log['forged']} forged lines, {log['control_characters']} colours of a client's and"
        f" {log['tracebacks']} tracebacks.",
    ]
    return "\n".join(lines) + "\n"


def is_well(figures: dict[str, object]) -> bool:
    """Whether nothing came of it."""
    rows, log, memory = figures["attacks"], figures["log"], figures["memory_mib"]
    return (
        not any(row["unexpected"] or row["own_failures"] for row in rows)
        and "failed" not in figures["fuzzed"]
        and bool(figures["fuzzed"])
        and not any(log[name] for name in ("secrets", "forged", "control_characters", "tracebacks"))
        and (memory[-1] - memory[len(memory) // 2 - 1]) * 2**20 < GROWTH_BYTES
        and figures["alive"]
    )


def main() -> None:
    """Run, print, write; 1 where something came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="smallfirst-abuse-"))
    print(f"logs: {folder}")
    figures = asyncio.run(run(folder))
    page = page_of(figures)
    print(page)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "result.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    (options.out / "result.md").write_text(page)
    raise SystemExit(0 if is_well(figures) else 1)


if __name__ == "__main__":
    main()
