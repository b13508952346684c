"""The counts that were recorded, those of now, and what to say where they differ. `python tests/speed/recorded.py`
records anew; `make record-work` does it with everything set up."""

import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
FILE = HERE / "work.json"
LIBRARIES = "libraries"
WITHIN = 0.05  # of each room's instructions, on the Python that they were recorded with
WITHIN_ELSEWHERE = 0.25  # of libraries' too, which come in other versions
FEW = 50  # instructions, which may come to any room
MOST_TOLD = 8


@dataclass(frozen=True)
class Count:
    """What one kind of request takes: bytecode instructions by file, and dear calls by name."""

    instructions: Mapping[str, int]
    dear: Mapping[str, int]

    @classmethod
    def of(cls, counts: Mapping[str, Mapping[str, int]]) -> Self:
        """From JSON."""
        return cls(counts["instructions"], counts["dear"])

    @property
    def rooms(self) -> Counter[str]:
        """Instructions of each of our rooms; libraries are one, too."""
        sums = Counter[str]()
        for part, number in self.instructions.items():
            sums[room_of(part)] += number
        return sums


def room_of(part: str) -> str:
    """Where a file belongs: `router`, `models`, or a folder of `server`."""
    room, *inner = part.split("/")
    return "/".join((room, *inner[:1])) if len(inner) > 1 else room


def counted() -> dict[str, Any]:
    """Of now, by a process of its own."""
    root = HERE.parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}", "PYTHONHASHSEED": "0"}
    counting = [sys.executable, HERE / "rig.py"]
    told = subprocess.run(counting, env=environment, capture_output=True, check=False)  # noqa: S603 - our own program
    if told.returncode:
        raise RuntimeError(told.stderr.decode()[-4000:])
    return {"python": python(), **json.loads(told.stdout)}


def recorded() -> dict[str, Any]:
    """As committed."""
    return json.loads(FILE.read_text())


def python() -> str:
    """Whose bytecode it is."""
    return ".".join(platform.python_version_tuple()[:2])


def complaint(kind: str, before: Count, now: Count, *, within: float) -> str:
    """What grew beyond bounds, and what to do; empty where nothing did."""
    wrong = [*too_much(before, now, within)]
    if not wrong:
        return ""
    grown = {part: now.instructions.get(part, 0) - before.instructions.get(part, 0) for part in now.instructions}
    most = sorted(grown, key=lambda part: -grown[part])[:MOST_TOLD]
    parts = [f"  {part}: {before.instructions.get(part, 0):,} -> {now.instructions[part]:,}" for part in most]
    return "\n".join([
        f"{kind}: more work than was recorded: {'; '.join(wrong)}. Instructions that grew most:",
        *(line for part, line in zip(most, parts, strict=True) if grown[part] > 0),
        "Make it cheaper; or, where it is worth its cost, record it with `make record-work` and say why in the commit.",
    ])  # fmt: skip


def too_much(before: Count, now: Count, within: float) -> Iterator[str]:
    """Each bound that is broken."""
    for room, number in now.rooms.items():
        part, few = (WITHIN_ELSEWHERE, 0) if room == LIBRARIES else (within, FEW)
        if number > before.rooms[room] * (1 + part) + few:
            yield f"{room} {before.rooms[room]:,} -> {number:,} instructions ({part:.0%} more are let through)"
    for name, number in now.dear.items():
        if number > before.dear.get(name, 0):
            yield f"{name} is called {number} times instead of {before.dear.get(name, 0)}"


if __name__ == "__main__":
    FILE.write_text(json.dumps(counted(), indent=1) + "\n")
