"""What a soak showed, as a page and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median

import matplotlib.pyplot as plt

from bench.rig.machine import in_words

REST_MB, LAST_MB, START_S = 110, 160, 1.5


@dataclass(frozen=True, slots=True)
class Sample:
    """Both processes and the store after so many requests; memory and sizes in 10⁶ bytes."""

    requests: int
    worker_mb: float
    parent_mb: float
    worker_files: int
    parent_files: int
    store_mb: float


@dataclass(frozen=True, slots=True)
class Soak:
    """A run: seconds that each start took, by gateway; samples while requests came, after the streams, and once
    settled."""

    machine: dict[str, object]
    starts_s: Mapping[str, Sequence[float]]
    samples: Sequence[Sample]
    counts: Mapping[str, int]
    took_s: float
    streams: int
    after_streams: Sample
    settled: Sample

    @property
    def slope_mb(self) -> float:
        """By how much the worker grows over 100,000 requests: a line through the second half's samples."""
        half = self.samples[len(self.samples) // 2 :]
        return 1e5 * linear_regression([one.requests for one in half], [one.worker_mb for one in half]).slope


def page(soak: Soak) -> str:
    """The numbers for a reader."""
    first, last = soak.samples[0], soak.samples[-1]
    most_mb = max(one.worker_mb for one in [*soak.samples, soak.after_streams])
    starts = [
        f"| {name} | {median(times):.2f} s | {min(times):.2f} to {max(times):.2f} s | {len(times)} |"
        for name, times in soak.starts_s.items()
    ]
    rows = [
        f"| {name} | {one.requests:,} | {one.worker_mb:.1f} | {one.parent_mb:.1f} | {one.worker_files} |"
        f" {one.parent_files} | {one.store_mb:.1f} |"
        for name, one in (
            ("at rest", first), ("half of the mix", soak.samples[len(soak.samples) // 2]), ("the mix", last),
            (f"{soak.streams} streams", soak.after_streams), ("settled", soak.settled),
        )
    ]  # fmt: skip
    lines = [
        "# Memory over many requests, and starts",
        "",
        f"Written by `python bench/soak/run.py --requests {last.requests}`. One worker on one core, with keys, limits,",
        "metrics, journal and decision log; load and models on the other core. MB are 10⁶ bytes, resident.",
        f"{in_words(soak.machine)}.",
        "",
        "| after | requests | worker, MB | parent, MB | worker's files | parent's files | store, MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *rows,
        "",
        f"Over the second half of the mix the worker grew by {soak.slope_mb:+.2f} MB for 100,000 requests (a line",
        f"through the samples); its most was {most_mb:.1f} MB. {soak.took_s:.0f} s for the mix:",
        ", ".join(f"{count:,} {name}" for name, count in sorted(soak.counts.items())) + ".",
        "",
        "| from the command until ready | median | least to most | starts |",
        "|---|--:|--:|--:|",
        *starts,
        "",
        f"Wished for: {REST_MB} MB at rest at most ({verdict(first.worker_mb, REST_MB, 'MB')}), {LAST_MB} MB",
        f"after a million requests and 256 streams (here after {soak.settled.requests:,}:",
        f"{verdict(most_mb, LAST_MB, 'MB')}), ready within {START_S} s",
        f"({verdict(median(soak.starts_s['smallfirst']), START_S, 's')}).",
        "",
        "![The worker's memory over requests](result.png)",
    ]
    return "\n".join(lines) + "\n"


def verdict(value: float, most: float, unit: str) -> str:
    """Whether a target is met, and by how much not."""
    return f"met: {value:.2f} {unit}" if value <= most else f"missed by {value - most:.2f} {unit}: {value:.2f} {unit}"


def plotted(soak: Soak, file: Path) -> None:
    """The memory of both processes over requests."""
    figure, axes = plt.subplots(figsize=(8, 4))
    counts = [one.requests for one in soak.samples]
    axes.plot(counts, [one.worker_mb for one in soak.samples], label="worker")
    axes.plot(counts, [one.parent_mb for one in soak.samples], label="parent")
    axes.set(xlabel="requests", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=110)
