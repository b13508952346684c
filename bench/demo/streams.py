"""Ask the demo's long questions as streams: how soon they open, and how right they are, by when a draft is shown.

    python bench/demo/streams.py                  # 600 answers longer than gate and holdback together

Every question goes, as a stream, one at a time, to the small tier, to the large tier, and to the cascade with its
streams held and live (`continue`, at several gates). One gateway answers all of them in turn, so times compare within
a question. Without --url it starts the demo itself.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median

import openai
from gateway import demo_gateway, until_ready
from streams_plot import draw

from models.demo.curriculum import distinct
from models.demo.grading import is_right
from models.demo.question import Question, Split

HERE = Path(__file__).parent
GATES = ((8, 4), (16, 8), (24, 16))  # tokens of the gate and of the holdback
LONGER_THAN = max(gate + holdback for gate, holdback in GATES)
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer: seconds to its first text, and to its end; seconds to each token of it; whether it is right; whether
    another tier than the first had its say."""

    first_s: float
    total_s: float
    token_s: tuple[float, ...]
    right: bool
    escalated: bool


def policies() -> dict[str, tuple[str, dict[str, object]]]:
    """Each policy's name, the model that is asked for, and the request's controls."""
    live = {
        f"live {gate}+{holdback}": ("auto", {"stream": {
            "on_doubt": "continue", "gate_tokens": gate, "holdback_tokens": holdback}})
        for gate, holdback in GATES
    }  # fmt: skip
    return {
        "small alone": ("small", {}),
        "large alone": ("large", {}),
        "hold": ("auto", {"stream": {"on_doubt": "hold"}}),
        **live,
    }


async def streamed(client: openai.AsyncOpenAI, question: Question, model: str, controls: dict[str, object]) -> Streamed:
    """One greedy stream."""
    began_s = time.perf_counter()
    stamps: list[float] = []
    text, escalated = "", False
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question.prompt}], temperature=0, stream=True,
        stream_options={"include_usage": True}, extra_body={"smallfirst": controls} if controls else {},
    )  # fmt: skip
    async with stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                stamps.append(time.perf_counter() - began_s)
                text += chunk.choices[0].delta.content
            if chunk.usage is not None:
                escalated = "large" in chunk.usage.model_extra["smallfirst"]["tiers"]
    return Streamed(stamps[0], time.perf_counter() - began_s, tuple(stamps), is_right(question, text), escalated)


async def measured(url: str, wanted: int, seed: int) -> list[dict[str, Streamed]]:
    """So many questions whose draft is longer than every gate and holdback, each by every policy in a random order."""
    random = Random(seed)
    found: list[dict[str, Streamed]] = []
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=120) as client:
        await until_ready(client)
        for question in distinct(Split.HELD_OUT, 20 * wanted):
            small = await streamed(client, question, "small", {})
            if len(small.token_s) <= LONGER_THAN:
                continue
            order = list(policies().items())
            random.shuffle(order)
            found.append({name: await streamed(client, question, *asked) for name, asked in order})
            if len(found) == wanted:
                return found
    raise SystemExit(f"only {len(found)} questions have drafts of more than {LONGER_THAN} tokens")


@dataclass(frozen=True, slots=True)
class Row:
    """One policy: shares of right answers and of those in which the large model had its say, and medians of seconds."""

    right: float
    with_large: float
    first_text_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Live:
    """A live policy beside holding: its right answers over hold's, with the 95 % interval; the share of streams that
    opened before their draft could be whole; the first text of these over the small model's own token of the gate's
    number, and of all over hold's first text (medians)."""

    accuracy_of_hold: float
    interval: tuple[float, float]
    opened: float
    first_over_gate_token: float
    first_over_hold: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is committed."""

    answers: int
    longer_than_tokens: int
    policies: dict[str, Row]
    live: dict[str, Live]


def figures_of(found: Sequence[dict[str, Streamed]]) -> Figures:
    """All of them."""
    rows = {name: row_of([one[name] for one in found]) for name in policies()}
    live = {f"{gate}+{holdback}": compared(found, gate, holdback) for gate, holdback in GATES}
    return Figures(len(found), LONGER_THAN, rows, live)


def row_of(answers: Sequence[Streamed]) -> Row:
    """One policy's."""
    return Row(
        right=share([answer.right for answer in answers]),
        with_large=share([answer.escalated for answer in answers]),
        first_text_s=median(answer.first_s for answer in answers),
        total_s=median(answer.total_s for answer in answers),
    )


def compared(found: Sequence[dict[str, Streamed]], gate: int, holdback: int) -> Live:
    """A live policy beside holding."""
    name = f"live {gate}+{holdback}"
    opened = [one for one in found if opened_early(one, name, gate)]
    kept = [(one[name].right, one["hold"].right) for one in found]
    return Live(
        accuracy_of_hold=ratio(kept),
        interval=resampled(kept),
        opened=len(opened) / len(found),
        first_over_gate_token=median(one[name].first_s / one["small alone"].token_s[gate - 1] for one in opened),
        first_over_hold=median(one[name].first_s / one["hold"].first_s for one in found),
    )


def opened_early(one: dict[str, Streamed], name: str, gate: int) -> bool:
    """Whether the first text came before the small model's draft could be whole."""
    small = one["small alone"]
    return one[name].first_s < (small.token_s[gate - 1] + small.total_s) / 2


def share(flags: Sequence[bool]) -> float:
    """Of those that are true."""
    return sum(flags) / len(flags)


def ratio(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Right answers of the first over those of the second."""
    return sum(first for first, _ in pairs) / sum(second for _, second in pairs)


def resampled(pairs: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    """The 95 % interval of the ratio, by paired bootstrap."""
    random = Random(1)
    ratios = sorted(ratio(random.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return ratios[round(0.025 * RESAMPLES)], ratios[round(0.975 * RESAMPLES) - 1]


def print_tables(figures: Figures) -> None:
    """In Markdown."""
    print(f"{figures.answers} answers of more than {figures.longer_than_tokens} tokens\n")
    print("| policy | right | asked large | first text, ms | whole, ms |\n|---|--:|--:|--:|--:|")
    for name, row in figures.policies.items():
        times = f"{1000 * row.first_text_s:.0f} | {1000 * row.total_s:.0f}"
        print(f"| {name} | {row.right:.1%} | {row.with_large:.1%} | {times} |")
    print(
        "\n| gate + holdback | right, of hold's (95 %) | opened early | first text, of small's gate token | of hold's |"
    )
    print("|---|--:|--:|--:|--:|")
    for name, live in figures.live.items():
        kept = f"{live.accuracy_of_hold:.1%} ({live.interval[0]:.1%} to {live.interval[1]:.1%})"
        print(
            f"| {name} | {kept} | {live.opened:.1%} | {live.first_over_gate_token:.2f} | {live.first_over_hold:.2f} |"
        )


async def run(url: str | None, wanted: int, seed: int) -> list[dict[str, Streamed]]:
    """By the gateway at `url`, or by one that is started for it."""
    if url is not None:
        return await measured(url, wanted, seed)
    async with demo_gateway() as started:
        return await measured(started, wanted, seed)


def main() -> None:
    """Parse, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="a gateway that runs the demo already")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    found = asyncio.run(run(options.url, options.answers, options.seed))
    figures = figures_of(found)
    print_tables(figures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "streams.json").write_text(json.dumps(asdict(figures), indent=2) + os.linesep)
    firsts = {name: sorted(one[name].first_s for one in found) for name in policies()}
    draw(firsts, asdict(figures), options.out / "streams.png")


if __name__ == "__main__":
    main()
