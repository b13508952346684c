"""What one client costs on disk and in a fresh process: `python footprint.py NAME URL` prints the latter as JSON."""

import resource
import sys
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import orjson
import uvloop
from candidates import CANDIDATES, Candidate
from packaging.requirements import Requirement


def is_installed(candidate: Candidate) -> bool:
    try:
        return bool(version(candidate.distribution))
    except PackageNotFoundError:
        return False


def needed(name: str) -> set[str]:
    """The distributions that `name` needs here, itself included, without extras."""
    requirements = [Requirement(line) for line in distribution(name).requires or []]
    return {name}.union(
        *(needed(each.name) for each in requirements if not each.marker or each.marker.evaluate({"extra": ""}))
    )


def installed_mb(candidate: Candidate) -> float:
    parts = set[str]().union(*map(needed, candidate.made_of or (candidate.distribution,)))
    files = [file for part in parts for file in distribution(part).files or [] if file.suffix != ".pyc"]
    return sum(file.size or 0 for file in files) / 1e6


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def first_reply(candidate: Candidate, url: str) -> None:
    async with candidate.connect() as client:
        await client.post(f"{url}/json", b"{}")


def fresh(candidate: Candidate, url: str) -> dict[str, float]:
    base_mb, started = rss_mb(), time.perf_counter()
    import_module(candidate.module)
    imported, imported_mb = time.perf_counter(), rss_mb()
    uvloop.run(first_reply(candidate, url))
    return {
        "import, ms": (imported - started) * 1e3,
        "import to first reply, ms": (time.perf_counter() - started) * 1e3,
        "RSS of import, MB": imported_mb - base_mb,
        "RSS after first reply, MB": rss_mb() - base_mb,
    }


if __name__ == "__main__":
    chosen = next(candidate for candidate in CANDIDATES if candidate.distribution == sys.argv[1])
    sys.stdout.buffer.write(orjson.dumps(fresh(chosen, sys.argv[2])))
