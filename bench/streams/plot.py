"""CPU time for each token, and the longest stalls, of each kind of stream."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from bench.streams.page import kinds, worst


def draw(result: Mapping[str, Any], file: Path) -> None:
    """A bar for each kind at each number of streams."""
    sizes = sorted({run["streams"] for run in result["runs"]} - {1})
    figure = Figure(figsize=(10, 1.2 + 0.5 * len(kinds(result["runs"], sizes[0])) * len(sizes)))
    costs, stalls = figure.subplots(1, 2, sharey=True)
    for place, streams in enumerate(sizes):
        found = kinds(result["runs"], streams)
        rows = [line + (place - (len(sizes) - 1) / 2) * 0.8 / len(sizes) for line in range(len(found))]
        height = 0.8 / len(sizes)
        costs.barh(rows, [median(run["cpu_us"] for run in one) for _, one in found], height, label=f"{streams} streams")
        stalls.barh(rows, [worst(one, "max") for _, one in found], height, label=f"{streams} streams")
        costs.set_yticks(range(len(found)), [name for name, _ in found])
    costs.invert_yaxis()
    costs.set_xlabel("CPU time for each token (µs)")
    stalls.set_xlabel("longest stall beyond the server's own (ms)")
    stalls.axvline(100, color="black", linewidth=0.8, linestyle=":")
    stalls.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
