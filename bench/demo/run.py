"""Ask the demo pair's questions through a running gateway: the table, and the cost-quality curve as PNG.

    python bench/demo/run.py                      # the held-out split, at the shipped threshold
    python bench/demo/run.py --split threshold    # the split that the shipped threshold was chosen on

Each question goes to the small tier, the large tier and the cascade. Without --url it starts the demo itself.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import openai
from gateway import demo_gateway, until_ready
from outcomes import Recorded, at_threshold, cheapest, curve
from plot import draw

from models.demo.curriculum import distinct
from models.demo.grading import is_right
from models.demo.question import Question, Split

HERE = Path(__file__).parent
CONCURRENCY = 8
TARGET_QUALITY = 0.98  # on the threshold split: a point above what is wanted of the held-out one


async def ask(client: openai.AsyncOpenAI, model: str, prompt: str):
    """One greedy answer, with its headers."""
    return await client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": prompt}], temperature=0
    )


async def record(client: openai.AsyncOpenAI, question: Question) -> Recorded:
    """Ask all three, one after the other."""
    small, large, cascade = [await ask(client, model, question.prompt) for model in ("small", "large", "auto")]
    drafted, final, answered = small.parse(), large.parse(), cascade.parse()
    return Recorded(
        task=question.task,
        small_right=is_right(question, drafted.choices[0].message.content or ""),
        large_right=is_right(question, final.choices[0].message.content or ""),
        cascade_right=is_right(question, answered.choices[0].message.content or ""),
        escalated=cascade.headers["x-smallfirst-escalated"] == "true",
        confidence=float(cascade.headers.get("x-smallfirst-confidence", 0.0)),
        small_cost=drafted.usage.smallfirst["cost"],
        large_cost=final.usage.smallfirst["cost"],
        cascade_cost=answered.usage.smallfirst["cost"],
    )


async def record_all(url: str, questions: Sequence[Question]) -> list[Recorded]:
    """All questions, a few at a time."""
    free = asyncio.Semaphore(CONCURRENCY)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=120) as client:
        await until_ready(client)

        async def one(question: Question) -> Recorded:
            async with free:
                return await record(client, question)

        return await asyncio.gather(*(one(question) for question in questions))


def report(recorded: Sequence[Recorded], split: Split) -> dict[str, object]:
    """The figures, as they are committed."""
    count = len(recorded)
    small = sum(one.small_right for one in recorded) / count
    large = sum(one.large_right for one in recorded) / count
    cascade = sum(one.cascade_right for one in recorded) / count
    escalated = sum(one.escalated for one in recorded) / count
    large_cost = sum(one.large_cost for one in recorded) / count
    cascade_cost = sum(one.cascade_cost for one in recorded) / count
    at_random = small + escalated * (large - small)
    return {
        "split": str(split),
        "questions": count,
        "small": {"accuracy": small, "cost_ratio": sum(one.small_cost for one in recorded) / count / large_cost},
        "large": {"accuracy": large, "cost_ratio": 1.0},
        "cascade": {
            "accuracy": cascade,
            "accuracy_kept": cascade / large,
            "escalated": escalated,
            "cost_ratio": cascade_cost / large_cost,
        },
        "same_share_escalated_at_random": {"accuracy": at_random, "accuracy_kept": at_random / large},
        "fewest_escalations_for_target": {
            "accuracy_kept": TARGET_QUALITY,
            **asdict(cheapest(recorded, kept_quality=TARGET_QUALITY)),
        },
        "all_drafts_kept": asdict(at_threshold(recorded, 0.0)),
    }


def print_table(figures: dict) -> None:
    """The table that people read."""
    large = figures["large"]["accuracy"]
    rows = [
        ("small alone", figures["small"]["accuracy"], 0.0, figures["small"]["cost_ratio"]),
        ("large alone", large, 1.0, 1.0),
        ("cascade", figures["cascade"]["accuracy"], figures["cascade"]["escalated"], figures["cascade"]["cost_ratio"]),
        ("as many at random", figures["same_share_escalated_at_random"]["accuracy"],
         figures["cascade"]["escalated"], figures["cascade"]["cost_ratio"]),
    ]  # fmt: skip
    print(f"{figures['questions']} questions of the {figures['split']} split\n")
    print("| policy | right | of the large one's | escalated | cost of large alone |\n|---|--:|--:|--:|--:|")
    for name, accuracy, escalated, cost in rows:
        print(f"| {name} | {accuracy:.1%} | {accuracy / large:.1%} | {escalated:.1%} | {cost:.1%} |")
    best = figures["fewest_escalations_for_target"]
    print(
        f"\nfewest escalations that keep {best['accuracy_kept']:.0%} of the large model's accuracy on these questions: "
        f"{best['escalated']:.1%}, at threshold {best['threshold']:.4f}"
    )


def main() -> None:
    """Parse, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=[Split.HELD_OUT, Split.THRESHOLD], default=Split.HELD_OUT, type=Split)
    parser.add_argument("--questions", type=int, default=1500)
    parser.add_argument("--url", help="a gateway that runs the demo already")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    recorded = asyncio.run(measured(options.url, distinct(options.split, options.questions)))
    figures = report(recorded, options.split)
    print_table(figures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.split}.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    draw(curve(recorded), figures, options.out / f"{options.split}.png")


async def measured(url: str | None, questions: Sequence[Question]) -> list[Recorded]:
    """By the gateway at `url`, or by one that is started for it."""
    if url is not None:
        return await record_all(url, questions)
    async with demo_gateway() as started:
        return await record_all(started, questions)


if __name__ == "__main__":
    main()
