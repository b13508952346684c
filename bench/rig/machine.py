"""What a benchmark ran on, in words."""

import os
import platform
from pathlib import Path


def described() -> dict[str, object]:
    """The processor, its cores, memory, kernel, Python, and how busy it was as this is asked."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_gib, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def in_words(machine: dict[str, object]) -> str:
    """The same, for a page."""
    return (
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB of memory, Linux"
        f" {machine['kernel']}, Python {machine['python']}; load average {machine['load_average']} at the start"
    )
