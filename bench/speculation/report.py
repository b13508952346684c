"""The figures of a run, as they are committed, and the page that people read. Pure functions."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asking import Answer, Counts

WAYS = {
    "large": "large alone",
    "drafter": "large, drafter inside",
    "fresh": "small, then large from the start",
    "handover": "small, then large with handover",
}


def way(answers: Sequence[Answer], counts: Counts, *, alone: Sequence[Answer], small_s: float = 0.0) -> dict[str, Any]:
    """One way to answer the same questions; `small_s` is what the small model took before."""
    return {
        "steps": counts.steps,
        "tokens": sum(len(answer.tokens) for answer in answers),
        "proposed": counts.proposed,
        "accepted": counts.accepted,
        "seconds": sum(answer.seconds for answer in answers) + small_s,
        "identical": sum(answer.tokens == other.tokens for answer, other in zip(answers, alone, strict=True)),
    }


def group(count: int, fresh: Mapping[str, Any], handed: Mapping[str, Any]) -> dict[str, Any]:
    """Escalated answers: decode steps are those after the one that reads the prompt."""
    return {
        "answers": count,
        "fresh": fresh,
        "handover": handed,
        "decode_steps_ratio": (handed["steps"] - count) / max(1, fresh["steps"] - count),
        "seconds_ratio": handed["seconds"] / max(1e-9, fresh["seconds"]),
    }


def added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two groups' counts together."""
    return {name: one[name] + other[name] for name in one}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ways_table(figures: Mapping[str, Any]) -> str:
    """The four ways, each as a share of the large model alone."""
    alone = figures["ways"]["large"]
    return table(
        ["way", "steps of the large model", "tokens a step", "time", "tokens proposed", "accepted", "identical"],
        [
            [
                title,
                f"{counts['steps']:,} ({counts['steps'] / alone['steps']:.0%})",
                f"{counts['tokens'] / counts['steps']:.2f}",
                f"{counts['seconds']:.1f} s ({counts['seconds'] / alone['seconds']:.0%})",
                f"{counts['proposed']:,}",
                f"{counts['accepted'] / counts['proposed']:.1%}" if counts["proposed"] else "",
                f"{counts['identical']} of {figures['compared']}",
            ]
            for name, title in WAYS.items()
            for counts in [figures["ways"][name]]
        ],
    )


def escalations_table(figures: Mapping[str, Any]) -> str:
    """Escalated answers: a fresh start and a handover."""
    return table(
        [
            "escalated answers",
            "answers",
            "tokens",
            "decode steps, fresh",
            "with handover",
            "ratio",
            "time",
            "identical",
        ],
        [
            [
                title,
                str(one["answers"]),
                f"{one['fresh']['tokens']:,}",
                f"{one['fresh']['steps'] - one['answers']:,}",
                f"{one['handover']['steps'] - one['answers']:,}",
                f"**{one['decode_steps_ratio']:.3f}**",
                f"{one['seconds_ratio']:.3f}",
                str(one["handover"]["identical"]),
            ]
            for title, one in figures["escalated"].items()
        ],
    )


def alignments_table(figures: Mapping[str, Any]) -> str:
    """Ways to follow a draft, by simulation."""
    return table(
        ["the draft is followed", *(f"steps, {title}" for title in figures["escalated"])],
        [[name, *(f"{steps:,}" for steps in counts.values())] for name, counts in figures["alignments"].items()],
    )


def distributions_table(figures: Mapping[str, Any]) -> str:
    """The smallest p-value of each engine, corrected for all that were tested with it."""
    return table(
        ["engine", "samples", "prompts", "smallest p", "by Holm", "rejected at 0.01"],
        [
            [
                name,
                f"{one['samples']:,}",
                str(len(one["p_values"])),
                f"{min(one['p_values'].values()):.2g}",
                f"{min(one['adjusted'].values()):.2g}",
                f"{sum(p_value <= 0.01 for p_value in one['adjusted'].values())} of {len(one['adjusted'])}",
            ]
            for name, one in figures["distributions"].items()
        ],
    )


def page(figures: Mapping[str, Any]) -> str:
    """Everything, with how it was measured."""
    setting = figures["setting"]
    shipped = figures["alignments"]["as shipped"]
    reported = {title: one["handover"]["steps"] for title, one in figures["escalated"].items()}
    first_load, last_load = figures["load_averages"]
    return f"""# Speculation

Written by `python bench/speculation/run.py`. vLLM {setting["version"]}, {setting["device"]}, {setting["dtype"]};
small: `{setting["small"]}`, large: `{setting["large"]}`. Python {platform.python_version()}, {os.cpu_count()} cores;
**the machine was shared** (load average {first_load:.1f} at the start, {last_load:.1f} at the end): read the ratios.

The handover verifies at most {setting["tokens"]} draft tokens a step; the drafter inside proposes
{setting["drafter_tokens"]}, each with a forward pass of its own. Greedy, one request at a time, every question to all
servers in turn, no prefix caching. A step is one forward pass of the large model, the one that reads the prompt
included, as vLLM counts them. Identical: token by token what the large model alone answers.

## Four ways to the large model's answer

{figures["compared"]} held-out questions. The time of the last two ways includes the small model's.

{ways_table(figures)}

## Escalated answers

Of {figures["questions"]:,} held-out questions, those whose draft is below the threshold {figures["threshold"]:g}
(`min-logprob`); the time is the large model's.

{escalations_table(figures)}

## Following a draft

Steps for the same answers, by simulation from the recorded tokens. Counted by vLLM where it is `as shipped`:
{", ".join(f"{count:,} ({title}; simulated {shipped[title]:,})" for title, count in reported.items())}.

{alignments_table(figures)}

## Sampling at temperature 1

Pairs of the second and third token, the first ones that are verified, against the same engine without speculation:
chi-squared test of two samples for each prompt, rare pairs as one, p-values corrected by Holm over an engine's prompts.
Uncorrected is vLLM's own sampler on a CPU, which is known to be wrong (vllm-project/vllm issue 55005).

{distributions_table(figures)}
"""
