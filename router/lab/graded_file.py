"""Grades a recorded file, into itself or another one, and goes on where it was stopped."""

import asyncio
import gzip
import shutil
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from router.lab.grading import Examiners, Tally
from router.lab.keeping import line_of, locked
from router.lab.outcomes import BadRecord, Recorded, read_outcomes, recorded_of

PART = ".part"
In = TypeVar("In")
Out = TypeVar("Out")


async def grade_file(
    file: Path, out: Path, examiners: Examiners, *, at_once: int, told: Callable[[], None] = lambda: None
) -> Tally:
    """Write every question of the file with its marks, in order, so many at a time; `told` hears of each.

    `out` is there when all is done, and until then a file beside it, from which the next run goes on. Raises
    CannotGrade, BadRecord, UnknownGrader or OSError.
    """
    part = part_of(file, out)
    tally = Tally()

    def count(question: Recorded) -> None:
        tally.add(question)
        told()

    with locked(part) as opened:
        for question in graded_before(opened, file, examiners):
            count(question)
        rest = islice(read_outcomes(file), tally.questions, None)
        async with aclosing(in_order(rest, examiners.grade, at_once=at_once)) as graded:
            async for question in graded:
                opened.write(line_of(question))
                opened.flush()
                count(question)
    put(part, out, like=file)
    return tally


def part_of(file: Path, out: Path) -> Path:
    """Where the marked questions are until all are. Raises OSError where there are none to mark."""
    file.stat()
    return out.with_name(out.name + PART)


def graded_before(opened: BinaryIO, file: Path, examiners: Examiners) -> Iterator[Recorded]:
    """The questions that the file begins with and an earlier run graded alike; what comes after them is taken away."""
    opened.seek(0)
    whole = 0
    for question, line in zip(read_outcomes(file), opened, strict=False):
        graded = graded_in(line)
        by = (examiners.wanted(question), question.graded_by)
        if graded is None or graded.graded_by not in by or bare(graded) != bare(question):
            break
        whole += len(line)
        yield graded
    opened.truncate(whole)
    opened.seek(0, 2)


def graded_in(line: bytes) -> Recorded | None:
    """A line of an earlier run; None where it is none, or was cut off."""
    try:
        return recorded_of(line, "") if line.endswith(b"\n") else None
    except BadRecord:
        return None


def bare(question: Recorded) -> Recorded:
    """The question without what grading changes."""
    unmarked = {"answer": None, "correct": None}
    outputs = {tier: output.model_copy(update=unmarked) for tier, output in question.outputs.items()}
    return question.model_copy(update={"graded_by": None, "outputs": outputs})


async def in_order(items: Iterable[In], work: Callable[[In], Awaitable[Out]], *, at_once: int) -> AsyncGenerator[Out]:
    """What the work makes of each item, so many at a time, in the items' order."""
    running: deque[asyncio.Future[Out]] = deque()
    try:
        for item in items:
            running.append(asyncio.ensure_future(work(item)))
            if len(running) >= at_once:
                yield await running[0]
                running.popleft()
        while running:
            yield await running[0]
            running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def put(part: Path, out: Path, *, like: Path) -> None:
    """Put a finished file in its place, gzipped where it is named so, for the same people to read as another one."""
    if out.suffix == ".gz":
        zipped = part.with_name(part.name + ".gz")
        with part.open("rb") as read, gzip.open(zipped, "wb") as write:
            shutil.copyfileobj(read, write)
        part.unlink()
        part = zipped
    shutil.copymode(like, part)
    part.replace(out)
