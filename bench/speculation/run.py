"""Measure speculation on real vLLM servers: a drafter inside the engine, and a draft that is handed over.

    python bench/speculation/run.py                    # the demo pair, on a CPU
    python bench/speculation/run.py --device gpu --vllm $(which vllm) --small Qwen/Qwen3-0.6B --large Qwen/Qwen3-8B \
        --dtype bfloat16 --out runs/speculation -- --gpu-memory-utilization 0.2 --max-model-len 4096

What follows `--` goes to every server. It starts four of them at a time (small, large, large with the drafter, large
with the handover), on a CPU two more after them without the correction of vLLM's sampler. The two models share a
tokenizer. Where `smallfirst-handover` is not in vLLM's environment: `pip install --no-deps ./models/handover`.
"""

import argparse
import asyncio
import functools
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from alignments import ALIGNMENTS, simulated_steps
from asking import Answer, ask_all, ask_in_turn, read_counts
from distributions import Cells, chi_squared, holm, sample, telling
from plot import draw
from report import added, alignments_table, distributions_table, escalations_table, group, page, way, ways_table
from servers import HANDOVER, UNCORRECTED, Server, Setting, serving

from models.demo.curriculum import distinct
from models.demo.question import Split
from models.tokens import Token, Tokens
from router.scorers import SCORERS, Evidence

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "models/demo"
WARM_UP = 5
SAMPLED_PROMPTS = 6
LONG = 30
SCORER = SCORERS["min-logprob"]


@dataclass(frozen=True)
class Run:
    """What is measured, and on what."""

    options: argparse.Namespace
    setting: Setting
    prompts: Sequence[str]

    @property
    def handing(self) -> dict[str, object]:
        """The large server's speculation that takes drafts over."""
        return {"method": "custom_class", "model": HANDOVER, "num_speculative_tokens": self.options.tokens}

    @property
    def drafting(self) -> dict[str, object]:
        """The large server's speculation with the small model inside."""
        tokens = self.options.drafter_tokens
        return {"method": "draft_model", "model": self.options.small, "num_speculative_tokens": tokens}

    async def ask_in_turn(
        self, servers: Sequence[Server], places: Sequence[int], drafts: Sequence[Answer]
    ) -> dict[str, tuple[list[Answer], Any]]:
        """Each server's answers to some of the questions, and what it counted meanwhile."""
        before = {server.name: await read_counts(server) for server in servers}
        prompts, handed = [self.prompts[place] for place in places], [drafts[place].tokens for place in places]
        answers = await ask_in_turn(servers, prompts, handed, max_tokens=self.options.max_tokens)
        return {
            server.name: (answers[server.name], await read_counts(server) - before[server.name]) for server in servers
        }


@dataclass(frozen=True)
class Measured:
    """What the servers said: the small model's drafts, the large one's answers to the escalated questions (by their
    place), the figures of the ways and of the escalated, and each engine's samples."""

    version: str
    drafts: Sequence[Answer]
    answered: Mapping[int, Answer]
    ways: Mapping[str, Any]
    escalated: Mapping[str, Any]
    samples: Mapping[str, Sequence[Cells]]


async def measured(run: Run) -> Measured:
    """Everything that needs servers."""
    options = run.options
    async with AsyncExitStack() as stack:
        small, large, drafter, handover = servers = await started(run, stack)
        drafts = await ask_all(small, run.prompts, max_tokens=options.max_tokens)
        ways = await compared_ways(run, servers, drafts)
        places = [place for place, draft in enumerate(drafts) if confidence(draft) < options.threshold]
        prompts = [run.prompts[place] for place in places]
        answers = await ask_all(large, prompts, max_tokens=options.max_tokens)
        answered = dict(zip(places, answers, strict=True))
        escalated = await escalations(run, [large, handover], drafts, answered)
        told = telling(prompts, answers, SAMPLED_PROMPTS)
        samples = {server.name: await sampled(run, server, told) for server in (large, handover, drafter)}
        version = (await large.get("/version"))["version"]
    if run.setting.device == "cpu":
        samples |= await uncorrected(run, told)
    return Measured(version, drafts, answered, ways, escalated, samples)


async def started(run: Run, stack: AsyncExitStack) -> list[Server]:
    """The four servers, each with a few answers behind it."""
    options, servers = run.options, []
    for name, model, speculation in [
        ("small", options.small, None),
        ("large", options.large, None),
        ("drafter", options.large, run.drafting),
        ("handover", options.large, run.handing),
    ]:
        server = await stack.enter_async_context(serving(name, model, run.setting, speculation=speculation))
        await ask_all(server, run.prompts[:WARM_UP], max_tokens=options.max_tokens)
        servers.append(server)
    return servers


async def uncorrected(run: Run, told: Sequence[tuple[str, Sequence[int]]]) -> dict[str, list[Cells]]:
    """The samples of vLLM's own sampler."""
    samples = {}
    for name, speculation in (("handover, uncorrected", run.handing), ("drafter, uncorrected", run.drafting)):
        async with serving(
            name, run.options.large, run.setting, speculation=speculation, environment=UNCORRECTED
        ) as server:
            samples[name] = await sampled(run, server, told)
    return samples


def figures_of(run: Run, found: Measured, *, load_averages: Sequence[float]) -> dict[str, Any]:
    """What is written down."""
    options = run.options
    return {
        "setting": {
            "version": found.version, "device": run.setting.device, "dtype": run.setting.dtype,
            "small": shown(options.small), "large": shown(options.large), "tokens": options.tokens,
            "drafter_tokens": options.drafter_tokens, "max_tokens": options.max_tokens,
        },
        "load_averages": load_averages,
        "questions": len(run.prompts),
        "compared": min(options.compared, len(run.prompts)),
        "threshold": options.threshold,
        "ways": found.ways,
        "escalated": found.escalated,
        "alignments": aligned(run, found.answered, found.drafts),
        "distributions": distributions(found.samples),
    }  # fmt: skip


def shown(model: str) -> str:
    """A path as it is in this repository."""
    return model.removeprefix(f"{HERE.parents[1]}/")


async def compared_ways(run: Run, servers: Sequence[Server], drafts: Sequence[Answer]) -> dict[str, Any]:
    """The same questions in four ways; the fresh start is the small model's time and the large one's."""
    told = await run.ask_in_turn(servers, range(len(run.prompts))[: run.options.compared], drafts)
    alone, counts = told["large"]
    small_s = sum(answer.seconds for answer in told["small"][0])
    return {
        "large": way(alone, counts, alone=alone),
        "drafter": way(*told["drafter"], alone=alone),
        "fresh": way(alone, counts, alone=alone, small_s=small_s),
        "handover": way(*told["handover"], alone=alone, small_s=small_s),
        "small_seconds": small_s,
    }


async def escalations(
    run: Run, servers: Sequence[Server], drafts: Sequence[Answer], known: Mapping[int, Answer]
) -> dict[str, Any]:
    """The escalated answers, whose lengths are known, from the start and with the draft."""
    groups = {}
    for title, places in by_length(known).items():
        told = await run.ask_in_turn(servers, places, drafts)
        alone, counts = told["large"]
        groups[title] = group(len(places), way(alone, counts, alone=alone), way(*told["handover"], alone=alone))
    together = [functools.reduce(added, (one[name] for one in groups.values())) for name in ("fresh", "handover")]
    return {"all": group(len(known), *together), **groups}


def by_length(known: Mapping[int, Answer]) -> dict[str, list[int]]:
    """The questions with long answers, and the others."""
    long = [place for place, answer in known.items() if len(answer.tokens) >= LONG]
    return {f"of {LONG} tokens and more": long, f"of fewer than {LONG}": sorted(known.keys() - set(long))}


def confidence(draft: Answer) -> float:
    """As the cascade has it."""
    tokens = Tokens.of(Token("", logprob) for logprob in draft.logprobs)
    return SCORER.confidence(SCORER.score(Evidence(tokens)))


def aligned(run: Run, answered: Mapping[int, Answer], drafts: Sequence[Answer]) -> dict[str, dict[str, int]]:
    """Steps by each way to follow a draft."""
    groups = {"all": list(answered), **by_length(answered)}
    return {
        name: {
            title: sum(steps_of(run, name, drafts[place], answered[place]) for place in places)
            for title, places in groups.items()
        }
        for name in ALIGNMENTS
    }


def escalated_steps(run: Run, found: Measured) -> list[tuple[int, int]]:
    """Each escalated answer's steps from the start and with its draft."""
    return [
        (len(answer.tokens), steps_of(run, "as shipped", found.drafts[place], answer))
        for place, answer in found.answered.items()
    ]


def steps_of(run: Run, name: str, draft: Answer, answer: Answer) -> int:
    """By simulation."""
    tokens, max_tokens = run.options.tokens, run.options.max_tokens
    return simulated_steps(ALIGNMENTS[name](draft.tokens), answer.tokens, tokens=tokens, max_tokens=max_tokens)


async def sampled(run: Run, server: Server, prompts: Sequence[tuple[str, Sequence[int]]]) -> list[Cells]:
    """Each prompt's samples."""
    return [await sample(server, prompt, draft, samples=run.options.samples) for prompt, draft in prompts]


def distributions(samples: Mapping[str, Sequence[Cells]]) -> dict[str, Any]:
    """Each engine against the large model alone."""
    found = {}
    for name, cells in samples.items():
        if name != "large":
            tests = zip(cells, samples["large"], strict=True)
            p_values = {f"prompt {place}": chi_squared(*test) for place, test in enumerate(tests, start=1)}
            found[name] = {
                "samples": sum(each.total() for each in cells),
                "p_values": p_values,
                "adjusted": holm(p_values),
            }
    return found


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, default=HERE.parents[1] / ".venv-vllm/bin/vllm")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--small", default=str(DEMO / "weights/small"))
    parser.add_argument("--large", default=str(DEMO / "weights/large"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", type=int, default=16, help="draft tokens that the handover verifies in a step")
    parser.add_argument("--drafter-tokens", type=int, default=4, help="tokens that the drafter inside proposes")
    parser.add_argument("--questions", type=int, default=1500, help="of the demo's held-out split, all drafted")
    parser.add_argument("--compared", type=int, default=300, help="of them, answered in all four ways")
    parser.add_argument("--threshold", type=float, help="drafts below are escalated; default: as the demo ships")
    parser.add_argument("--samples", type=int, default=2000, help="for each prompt and engine")
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("flags", nargs="*", help="for every server, after --")
    options = parser.parse_args()
    if options.threshold is None:
        options.threshold = yaml.safe_load((DEMO / "demo.yaml").read_text())["cascades"]["auto"]["threshold"]
    return options


def main() -> None:
    """Parse, measure, write."""
    options = parsed()
    setting = Setting(options.vllm, options.device, options.dtype, options.flags)
    run = Run(options, setting, [question.prompt for question in distinct(Split.HELD_OUT, options.questions)])
    first_load = os.getloadavg()[0]
    found = asyncio.run(measured(run))
    figures = figures_of(run, found, load_averages=[first_load, os.getloadavg()[0]])
    for shown_table in (ways_table, escalations_table, alignments_table, distributions_table):
        print(shown_table(figures), end="\n\n")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "result.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    (options.out / "result.md").write_text(page(figures))
    draw(figures, escalated_steps(run, found), options.out / "result.png")


if __name__ == "__main__":
    main()
