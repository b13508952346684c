"""`smallfirst grade`: marks for the answers of a recorded file."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from models.session import Session
from router.graders import UnknownGrader
from router.lab.graded_file import grade_file
from router.lab.grading import CannotGrade, Tally
from router.lab.outcomes import BadRecord
from server.cli.console import INTERRUPTED, WRONG_USE, complain
from server.cli.examiners import Special
from server.cli.progress import progress
from server.cli.tables import print_biases, print_tally
from server.logs import set_up_logs


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which file, graded how, into which."""

    file: Path
    out: Path
    grader: str | None
    final: str | None
    at_once: int


def run_grade(wanted: Wanted, environment: Mapping[str, str]) -> int:
    """Grade every question; 1 where none says how, 2 where it cannot be done."""
    set_up_logs()
    try:
        special, tally = asyncio.run(graded(wanted, environment))
    except (BadRecord, CannotGrade, UnknownGrader, OSError) as wrong:
        complain([str(wrong)])
        return WRONG_USE
    except KeyboardInterrupt:
        complain(["stopped: the same command goes on where it was"])
        return INTERRUPTED
    console = Console(highlight=False, markup=False, soft_wrap=True)
    print_tally(console, tally)
    print_biases(console, special.biases)
    console.print(f"{tally.questions} questions in {wanted.out}")
    if tally.ungraded:
        complain([f"{tally.ungraded} questions were not graded: they name no grader, or say nothing: give --grader"])
    return 1 if tally.ungraded else 0


async def graded(wanted: Wanted, environment: Mapping[str, str]) -> tuple[Special, Tally]:
    """Grade the file. Raises CannotGrade, BadRecord, UnknownGrader or OSError."""
    async with Session() as session:
        special = Special(session, environment, wanted.final)
        examiners = special.examiners(wanted.grader)
        with progress(None, "grading") as told:
            tally = await grade_file(wanted.file, wanted.out, examiners, at_once=wanted.at_once, told=told)
    return special, tally
