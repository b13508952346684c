"""The results, and the page that shows them."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.rig.machine import in_words

BARE, OURS, UPSTREAM = "bare route", "smallfirst", "upstream alone"
Samples = dict[tuple[str, int, str], list[dict[str, float]]]


@dataclass(slots=True)
class Result:
    """What was seen, by kind of request, number of connections and gateway; `failed` says why one was not measured,
    `restarts` how often one was started anew, because it did not come to rest behind a kind of request."""

    machine: dict[str, object]
    rounds: int
    seconds: float
    samples: Samples
    versions: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    restarts: Counter[str] = field(default_factory=Counter)
    at_rest_mib: dict[str, float] = field(default_factory=dict)
    at_last_mib: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """All of it."""
        samples = [
            {"kind": kind, "connections": connections, "gateway": name, "runs": runs}
            for (kind, connections, name), runs in self.samples.items()
        ]
        return {
            "machine": self.machine, "rounds": self.rounds, "seconds": self.seconds, "versions": self.versions,
            "failed": self.failed, "restarts": self.restarts, "at_rest_mib": self.at_rest_mib,
            "at_last_mib": self.at_last_mib, "samples": samples,
        }  # fmt: skip

    def forget(self, kind: str, name: str) -> None:
        """A gateway cannot be asked for that kind."""
        for connections in (1, 32):
            self.samples.pop((kind, connections, name), None)

    @property
    def kinds(self) -> list[str]:
        """The kinds of request, in their order."""
        return [*dict.fromkeys(kind for kind, _connections, _name in self.samples)]

    def names_of(self, kind: str) -> list[str]:
        """The gateways that were asked for that kind."""
        return [name for name in self.versions if (kind, 1, name) in self.samples]

    def each(self, kind: str, connections: int, name: str, measure: str) -> list[float]:
        """A measure, round by round."""
        return [value_of(run, measure) for run in self.samples[kind, connections, name]]

    def median(self, kind: str, connections: int, name: str, measure: str) -> float:
        """Of the rounds."""
        return statistics.median(self.each(kind, connections, name, measure))

    def ratio(self, kind: str, connections: int, name: str, measure: str) -> str:
        """To the bare route in the same round: the median, and the least and the most."""
        pairs = zip(
            self.each(kind, connections, name, measure), self.each(kind, connections, BARE, measure), strict=True
        )
        ratios = [own / bare for own, bare in pairs]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    def beyond(self, kind: str, measure: str) -> float:
        """Milliseconds beyond the bare route at one connection: the median over the rounds."""
        pairs = zip(self.each(kind, 1, OURS, measure), self.each(kind, 1, BARE, measure), strict=True)
        return statistics.median(own - bare for own, bare in pairs)


def value_of(run: dict[str, float], measure: str) -> float:
    """One measure of a run."""
    match measure:
        case "rate":
            return run["requests"] / run["seconds"]
        case "cpu_ms":
            return 1000 * run["cpu_s"] / run["requests"]
        case _:
            return run[measure]


def page(result: Result) -> str:
    """For a reader."""
    parts = [
        "# What the gateway costs beside a bare route",
        "",
        "Written by `python bench/overhead/run.py`. " + in_words(result.machine) + ".",
        "One core for the gateway, one worker; load and a static upstream (20 tokens; log-probabilities where they are",
        "asked for) share the other.",
        f"Medians of {result.rounds} rounds of {result.seconds:g} s, in which the gateways take turns; ratios are to",
        "the bare route ([bare.py](bare.py)) in the same round, with the least and the most. smallfirst has keys,",
        "limits, metrics, journal and decision log on; the upstream alone has the gateway's core to itself, which is",
        "the rig's ceiling.",
        "",
        "![Requests a second, and median latency at one connection](result.png)",
    ]
    for kind in result.kinds:
        parts += ["", f"## {kind}", "", *table(result, kind)]
        if BARE in result.names_of(kind):
            parts += ["", beside_bare(result, kind)]
    parts += ["", "## Memory", "", "| gateway | version | at rest, MiB | after the run, MiB |", "|---|---|--:|--:|"]
    parts += [
        f"| {name} | {known} | {result.at_rest_mib[name]:.0f} | {result.at_last_mib[name]:.0f} |"
        for name, known in result.versions.items()
    ]
    parts += ["", *(f"- Not measured: {name}: {why}." for name, why in result.failed.items()), *oddities(result)]
    return "\n".join(parts).rstrip() + "\n"


def oddities(result: Result) -> Iterator[str]:
    """What else a reader should know of a gateway."""
    for about, times in result.restarts.items():
        yield f"- Started anew, for it went on working after its clients had left: {about}: {times} times."
    for (kind, connections, name), runs in result.samples.items():
        if reopened := sum(run["reopened"] for run in runs):
            requests = sum(run["requests"] for run in runs)
            yield (
                f"- {name}, {kind}, {connections} connections: {reopened:,} were closed before an answer, and opened"
                f" again, over {requests:,} answers."
            )


def table(result: Result, kind: str) -> Sequence[str]:
    """One kind of request."""
    columns = ("gateway", "requests/s at 32", "beside the bare route", "p50 at 1, ms", "p99 at 1, ms")
    head = f"| {' | '.join((*columns, 'CPU at 32, ms', 'CPU at 1, ms'))} |"
    rows = [row(result, kind, name) for name in result.names_of(kind)]
    return [head, "|---|--:|--:|--:|--:|--:|--:|", *rows]


def row(result: Result, kind: str, name: str) -> str:
    """One gateway."""
    has_bare = BARE in result.names_of(kind) and name not in (BARE, UPSTREAM)
    cells = [
        name,
        f"{result.median(kind, 32, name, 'rate'):,.0f}",
        result.ratio(kind, 32, name, "rate") if has_bare else "",
        *(f"{result.median(kind, 1, name, measure):.2f}" for measure in ("p50_ms", "p99_ms")),
        *(f"{result.median(kind, connections, name, 'cpu_ms'):.3f}" for connections in (32, 1)),
    ]
    return f"| {' | '.join(cells)} |"


def beside_bare(result: Result, kind: str) -> str:
    """What the targets are about."""
    told = (
        f"smallfirst beyond the bare route at one connection: p50 {result.beyond(kind, 'p50_ms'):+.2f} ms, p99"
        f" {result.beyond(kind, 'p99_ms'):+.2f} ms; CPU at 32 connections beside it:"
        f" {result.ratio(kind, 32, OURS, 'cpu_ms')}"
    )
    if UPSTREAM not in result.names_of(kind):
        return f"{told}."
    added = result.median(kind, 1, OURS, "p50_ms") - result.median(kind, 1, UPSTREAM, "p50_ms")
    return f"{told}; added to the upstream's own p50: {added:.2f} ms."
