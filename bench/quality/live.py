"""The demo pair behind real vLLM, from recorded questions to a certificate that is served: record, tune, up, ask.

    python bench/quality/live.py                 # 5,000 recorded, 2,400 fresh; about half an hour on two CPU cores

Every step is the command that an operator types. The fresh questions are of a split that neither training nor tuning
has seen; each is asked of the cascade in mode `certified`, and each accepted draft's question of the large tier too,
whose answer tells whether accepting it was a regret.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import openai
from scipy.stats import beta

from models.demo.curriculum import distinct
from models.demo.files import WEIGHTS
from models.demo.grading import is_right
from models.demo.question import Question, Split
from models.launcher.program import free_ports

HERE = Path(__file__).parent
EPSILON, DELTA = 0.02, 0.1
LEAST_ACCEPTED = 0.30
AT_ONCE = 8
READY_S = 600
CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1", "TORCHDYNAMO_DISABLE": "1",
    "MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000",
}  # fmt: skip
ARGS = {
    "enforce-eager": True, "distributed-executor-backend": "uni", "kv-cache-memory-bytes": 128 * 2**20,
    "block-size": 32, "max-model-len": 1024,
}  # fmt: skip
PRICES = {"small": {"input": 0.02, "output": 0.04}, "large": {"input": 0.40, "output": 1.20}}


def configuration(vllm: Path, port: int, cascade: dict[str, object]) -> str:
    """The pair, as YAML (which JSON is)."""
    tiers = {
        name: {
            "model": f"demo-{name}",
            "price": price,
            "engine": {"kind": "vllm", "path": str(WEIGHTS / name), "executable": str(vllm), "args": ARGS, "env": CPU},
        }
        for name, price in PRICES.items()
    }
    cascades = {"auto": {"tiers": ["small", "large"], **cascade}}
    return json.dumps({"tiers": tiers, "cascades": cascades, "server": {"port": port}}, indent=2)


async def smallfirst(*arguments: object, into: Path | None = None) -> None:
    """One command of ours, to its end; what it prints, into a file."""
    command = [str(Path(sys.executable).with_name("smallfirst")), *map(str, arguments)]
    with contextlib.nullcontext(None) if into is None else into.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out)
        if await process.wait() != 0:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")


@contextlib.asynccontextmanager
async def up(config: Path, port: int) -> AsyncIterator[str]:
    """`smallfirst up`, from ready until the block ends."""
    command = Path(sys.executable).with_name("smallfirst")
    with config.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(command, "up", config, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        await until_ready(url, process)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    """Both tiers answer."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(READY_S):
        while True:
            if process.returncode is not None:
                raise SystemExit("smallfirst up ended: its log is beside the configuration")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/ready") as reply:
                    if (await reply.json())["tiers"] == {"small": "up", "large": "up"}:
                        return
            await asyncio.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Asked:
    """A fresh question: whether the draft was the answer, in which mode, whether the answer is right, and whether the
    large model alone is (None: it answered)."""

    accepted: bool
    mode: str
    right: bool
    large_right: bool | None
    cost: float
    cost_final_alone: float


async def asked(client: openai.AsyncOpenAI, question: Question, turn: asyncio.Semaphore) -> Asked:
    """By the cascade, and where the draft was accepted by the large model too."""
    ask = {"messages": [{"role": "user", "content": question.prompt}], "temperature": 0}
    async with turn:
        raw = await client.chat.completions.with_raw_response.create(model="auto", **ask)
        accepted = raw.headers["x-smallfirst-tier"] == "small"
        answer = raw.parse()
        large = await client.chat.completions.create(model="large", **ask) if accepted else None
    bill = answer.usage.model_extra["smallfirst"]
    return Asked(
        accepted,
        raw.headers["x-smallfirst-mode"],
        is_right(question, answer.choices[0].message.content or ""),
        None if large is None else is_right(question, large.choices[0].message.content or ""),
        bill["cost"],
        bill["cost_final_alone"],
    )


async def fresh(url: str, count: int) -> list[Asked]:
    """All of them."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=300) as client:
        return await asyncio.gather(*(asked(client, one, turn) for one in distinct(Split.HELD_OUT, count)))


def figures_of(found: Sequence[Asked], trust: dict, seconds: float) -> dict[str, object]:
    """What is committed."""
    regrets = sum(one.accepted and not one.right and bool(one.large_right) for one in found)
    accepted = sum(one.accepted for one in found)
    low, high = interval(regrets, len(found))
    large_right = sum(one.large_right if one.large_right is not None else one.right for one in found)
    return {
        "certificate": trust["fit"]["certificate"],
        "questions": len(found),
        "modes": sorted({one.mode for one in found}),
        "accepted": accepted / len(found),
        "regret": regrets / len(found),
        "regret_95": [low, high],
        "right": sum(one.right for one in found) / len(found),
        "large_right": large_right / len(found),
        "cost_of_large_alone": sum(one.cost for one in found) / sum(one.cost_final_alone for one in found),
        "seconds": round(seconds),
    }


def interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper and Pearson, 1934)."""
    low = float(beta.ppf(0.025, successes, trials - successes + 1)) if successes else 0.0
    return low, float(beta.ppf(0.975, successes + 1, trials - successes))


async def run(folder: Path, vllm: Path, recorded: int, questions: int) -> dict[str, object]:
    """Record, tune, up, ask."""
    began_s = time.perf_counter()
    (port,) = free_ports(1)
    plain, certified = folder / "pair.yaml", folder / "certified.yaml"
    plain.write_text(configuration(vllm, port, {"mode": "exact"}))
    certified.write_text(configuration(vllm, port, {"mode": "certified", "trust": "trust.json"}))
    prompts, answers, artefact = folder / "questions.jsonl", folder / "recorded.jsonl", folder / "trust.json"
    await smallfirst("demo", "questions", "--split", "threshold", "--count", recorded, into=prompts)
    async with up(plain, port) as url:
        await smallfirst("record", prompts, answers, "--url", url, "--grader", "exact", "--temperature", 0)
    await smallfirst("tune", plain, answers, artefact, "--epsilon", EPSILON, "--delta", DELTA)
    async with up(certified, port) as url:
        found = await fresh(url, questions)
    return figures_of(found, json.loads(artefact.read_text()), time.perf_counter() - began_s)


def main() -> None:
    """Parse, run, write; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=2400)
    parser.add_argument("--vllm", type=Path, default=Path(".venv-vllm/bin/vllm").absolute())
    parser.add_argument("--folder", type=Path, required=True, help="for the configuration, answers and artefact")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    figures = asyncio.run(run(options.folder, options.vllm, options.recorded, options.questions))
    print(json.dumps(figures, indent=2))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "live.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    kept = figures["regret_95"][0] <= EPSILON and figures["accepted"] >= LEAST_ACCEPTED  # type: ignore[index,operator]
    sys.exit(0 if kept and figures["modes"] == ["certified"] else 1)


if __name__ == "__main__":
    main()
