"""The numbers of bench/streams for a reader."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from bench.rig.machine import in_words

Runs = Sequence[Mapping[str, Any]]


def page(result: Mapping[str, Any]) -> str:
    """All tables."""
    runs = result["runs"]
    sizes = sorted({run["streams"] for run in runs} - {1})
    lines = [
        "# Streams",
        "",
        "Written by `python bench/streams/run.py`. A server writes every stream at",
        f"{result['pace']} tokens a second, {result['tokens']} tokens each; the gateway, with keys, limits, metrics,",
        "journal and decision log on, has one core, the server and the readers have the other. Each token says when it",
        "was sent, so times are what the gateway adds: to the first token beyond the gate",
        f"({result['gate']} tokens, {result['holdback']} held back; a held stream begins when all of it is there),",
        "and between tokens beyond the server's own pauses. CPU time is the",
        "process's own, requests and all, divided by the tokens that it read. Medians over rounds; of stalls the worst",
        f"round. {in_words(result['machine'])}.",
        "",
        "## One stream after another",
        "",
        "| stream | to the first token, p50 | p99 |",
        "|---|--:|--:|",
        *[
            f"| {kind} | {of(one, lambda run: run['first_ms']['p50']):.2f} ms |"
            f" {of(one, lambda run: run['first_ms']['p99']):.2f} ms |"
            for kind, one in kinds(runs, 1)
        ],
    ]
    for streams in sizes:
        lines += ["", f"## {streams} at once", "", *table(runs, streams)]
    ceiling = [run for run in runs if run["kind"] == "the server's ceiling"]
    lines += [
        "",
        "The server and the readers are not what is measured: without a pace they write and read "
        f"{of(ceiling, lambda run: run['tokens'] / run['seconds']):,.0f} tokens a second.",
    ]
    return "\n".join(lines) + "\n"


def table(runs: Runs, streams: int) -> list[str]:
    """So many streams at once."""
    rows = [
        f"| {kind} | {of(one, lambda run: run['cpu_us']):.1f} µs | {steady(one)} |"
        f" {of(one, lambda run: run['first_ms']['p50']):.1f} ms |"
        f" {worst(one, 'p99_9'):.1f} ms | {worst(one, 'max'):.1f} ms |"
        f" {max(run['stalls_over_100_ms'] for run in one)} | {max(run['memory_mib'] for run in one):.0f} MiB |"
        for kind, one in kinds(runs, streams)
    ]
    return [
        "| stream | CPU a token | of the core meanwhile | to the first token, p50 | longest of 1,000 stalls | of all |"
        " stalls over 100 ms | memory |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *rows,
    ]


def kinds(runs: Runs, streams: int) -> list[tuple[str, Runs]]:
    """Each kind's runs of so many streams."""
    names = dict.fromkeys(run["kind"] for run in runs if run["streams"] == streams and "ceiling" not in run["kind"])
    return [(name, [run for run in runs if run["kind"] == name and run["streams"] == streams]) for name in names]


def of(runs: Runs, number: Callable[[Mapping[str, Any]], float]) -> float:
    """The median."""
    return median(map(number, runs))


def worst(runs: Runs, quantile: str) -> float:
    """Of the rounds."""
    return max(run["stall_ms"][quantile] for run in runs)


def steady(runs: Runs) -> str:
    """The share of the core while all streams are under way."""
    return f"{of(runs, lambda run: run['window_share']):.0%}"
