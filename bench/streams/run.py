"""What streams cost the gateway, and what it does to their pace: many at once, from a server that writes each at 50
tokens a second. Writes result.json, result.md and result.png.

    python bench/streams/run.py                       # 256 and 512 streams; a quarter of an hour
    python bench/streams/run.py --streams 64 --rounds 1 --only live --here FOLDER

The gateway has one core, with keys, limits, metrics, journal and decision log on; the server and the readers have
another. Beside it, in the same run: the server alone, and a bare route of FastAPI (bare.py).
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from page import page
from plot import draw

from bench.overhead.sides import SMALLFIRST, key_in
from bench.rig.machine import described
from bench.rig.processes import running
from bench.rig.sse_load import Plan
from models.launcher.program import free_ports

HERE = Path(__file__).parent
RIG = HERE.parent / "rig"
SERVED_CORE, RIG_CORE = 0, 1
PACE = 50
TOKENS = 400
GATE, HOLDBACK = 24, 16
RAMP_S, WINDOW_S = 2.0, 4.0
ALONE_TOKENS, ALONE_ANSWERS = 40, 20
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of stream: of which model, how its prompt begins, after which token its first one is shown and how many
    behind; `drafted`: a draft of as many tokens is written before it; `logprobs`: its reader wants those."""

    model: str
    said: str = "sure"
    gate: int = 0
    behind: int = 0
    held: bool = False
    drafted: bool = False
    logprobs: bool = False


OURS = {
    "accepted, live": Kind("live", gate=GATE - 1, behind=HOLDBACK),
    "accepted, held": Kind("auto", held=True),
    "escalated": Kind("auto", said="unsure", drafted=True),
    "passed to a tier": Kind("large"),
}
BARE = {"bare route, parsed": Kind("small"), "bare route, passed on": Kind("large")}
ALONE = {"the server alone, log-probabilities": Kind("small", logprobs=True), "the server alone": Kind("large")}
KINDS = {**ALONE, **BARE, **OURS}
SAME = {"kind": "platt", "slope": 1.0, "intercept": 0.0}
CHECKS = ["empty", "malformed", "cut", "refused", "looping"]
TRUST = {
    "tuned_on": "2026-01-01", "tiers": [{"model": "small"}, {"model": "large"}], "checks": CHECKS,
    "on_missing_evidence": "escalate", "recorded": "cd" * 32, "grader": "exact", "clusters": {},
    "fit": {"scorer": {"kind": "fixed", "name": "mean-logprob"}, "calibration": SAME, "confidence_of": "right",
            "threshold": 0.5, "certificate": None, "questions": 1000},
    "gate": {"threshold": 0.5, "answers": 1000, "curves": {str(GATE): SAME}},
}  # fmt: skip


def config(port: int, upstream: int, folder: Path) -> dict[str, object]:
    """Two cascades over both models, one of which shows its drafts while they are written."""
    price = {"input": 1.0, "output": 1.0}
    tiers = {
        name: {"model": name, "price": price, "urls": [f"http://127.0.0.1:{upstream}"]} for name in ("small", "large")
    }
    live = {"on_doubt": "continue", "gate_tokens": GATE, "holdback_tokens": HOLDBACK}
    cascades = {
        "auto": {"tiers": [*tiers], "threshold": 0.5},
        "live": {"tiers": [*tiers], "trust": str(folder / "trust.json"), "stream": live},
    }
    most = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "streams_at_once": 10**4}
    return {
        "tiers": tiers, "cascades": cascades, "limits": {"default": most},
        "server": {"port": port, "auth": "keys", "admin": {"port": None}}, "store": {"folder": str(folder / "store")},
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """Where a kind of stream is asked for, and whose CPU time and memory that costs."""

    port: int
    session: int
    headers: Mapping[str, str]


async def read(target: Target, kind: Kind, streams: int) -> dict[str, object]:
    """One run of the readers: of one stream after another, to see how soon each begins, or of many at once."""
    few = streams == 1
    tokens = ALONE_TOKENS if few else TOKENS
    body: dict[str, object] = {
        "model": kind.model, "messages": [{"role": "user", "content": f"{kind.said} of it"}], "stream": True,
        "max_tokens": tokens, "logprobs": kind.logprobs,
    }  # fmt: skip
    plan = Plan(
        body, dict(target.headers), streams, answers=ALONE_ANSWERS if few else 1, ramp_s=0 if few else RAMP_S,
        window_s=0 if few else WINDOW_S, gate=kind.gate, behind=kind.behind, held=kind.held, session=target.session,
    )  # fmt: skip
    written = json.dumps(asdict(plan))
    seen = await asyncio.create_subprocess_exec(
        "taskset", "-c", str(RIG_CORE), sys.executable, RIG / "sse_load.py", str(target.port), written,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    out, _ = await seen.communicate()
    if seen.returncode:
        raise SystemExit(f"{kind.model}: the readers failed")
    found = json.loads(out)
    if kind.drafted:  # the draft's tokens are read too, before any is shown
        found["cpu_us"] /= 2
        found["first_ms"] = {name: first - 1000 * (tokens - 1) / PACE for name, first in found["first_ms"].items()}
    return found


async def measured(sizes: Sequence[int], rounds: int, only: str) -> list[dict[str, object]]:
    """All kinds in turn, as often as there are rounds."""
    ours, bare, upstream, unpaced = free_ports(4)
    seen: list[dict[str, object]] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file, log = folder / "streams.yaml", folder / "log"
        file.write_text(yaml.safe_dump(config(ours, upstream, folder)))
        (folder / "trust.json").write_text(json.dumps(TRUST))
        key = key_in(file)

        async def begun(*command: object, port: int, core: int) -> int:
            ready = f"http://127.0.0.1:{port}/health"
            return await stack.enter_async_context(
                running(command, core=core, ready=ready, log=log, environment=ENVIRONMENT)
            )

        wrote = await begun(sys.executable, RIG / "sse_upstream.py", upstream, PACE, port=upstream, core=RIG_CORE)
        raced = await begun(sys.executable, RIG / "sse_upstream.py", unpaced, 0, port=unpaced, core=RIG_CORE)
        relayed = await begun(sys.executable, HERE / "bare.py", bare, upstream, port=bare, core=SERVED_CORE)
        served = await begun(SMALLFIRST, "serve", file, port=ours, core=SERVED_CORE)
        targets = {
            **dict.fromkeys(ALONE, Target(upstream, wrote, {})),
            **dict.fromkeys(BARE, Target(bare, relayed, {})),
            **dict.fromkeys(OURS, Target(ours, served, {"authorization": f"Bearer {key}"})),
        }
        for number in range(rounds):
            for name, streams in turns(sizes, only):
                found = await read(targets[name], KINDS[name], streams)
                seen.append({"kind": name, "round": number, **found})
                print(name, streams, {at: found[at] for at in SHOWN}, flush=True)
        ceiling = await read(Target(unpaced, raced, {}), ALONE["the server alone, log-probabilities"], sizes[0])
        seen.append({"kind": "the server's ceiling", "round": 0, **ceiling})
    return seen


SHOWN = ("cpu_us", "window_cpu_us", "window_share", "first_ms", "stall_ms", "stalls_over_100_ms", "memory_mib")


def turns(sizes: Sequence[int], only: str) -> Iterator[tuple[str, int]]:
    """Each kind at each number of streams, and alone."""
    for streams in (1, *sizes):
        for name in KINDS:
            if only in name:
                yield name, streams


def main() -> None:
    """By the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    parser.add_argument("--here", type=Path, default=HERE, help="the folder to write to")
    told = parser.parse_args()
    machine = described()
    runs = asyncio.run(measured(told.streams, told.rounds, told.only))
    result = {"machine": machine, "pace": PACE, "tokens": TOKENS, "gate": GATE, "holdback": HOLDBACK, "runs": runs}
    (told.here / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (told.here / "result.md").write_text(page(result))
    draw(result, told.here / "result.png")


if __name__ == "__main__":
    main()
