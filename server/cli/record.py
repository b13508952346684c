"""`smallfirst record`: every tier's answers to many questions, in a file."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from models.session import Session
from router.graders import UnknownGrader
from router.lab.grading import CannotGrade, Tally
from router.lab.keeping import keeper
from router.lab.outcomes import BadRecord, Recorded, p_true_in
from router.lab.questions import BadPrompts, Question, only, read_questions, survey
from router.lab.recording import CannotRecord, Recorder
from server.cli.console import INTERRUPTED, WRONG_USE, complain
from server.cli.examiners import Special
from server.cli.progress import progress
from server.cli.recorded_tiers import Answering, Choice, Gateway, behind_gateway, configured
from server.cli.tables import print_biases, print_tally
from server.logs import set_up_logs
from server.settings.reading import SettingsError, read_settings_to_tune
from server.settings.schema import Settings

CANNOT = (BadPrompts, BadRecord, CannotGrade, CannotRecord, UnknownGrader, OSError)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which questions, put to whom and how, and where their answers go."""

    prompts: Path
    out: Path
    choice: Choice
    at_once: int
    temperature: float | None
    grader: str | None

    def questions(self) -> Iterator[Question]:
        """The questions as they are asked."""
        for question in read_questions(self.prompts):
            yield question if self.temperature is None else question.at_temperature(self.temperature)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    recorder: Recorder
    tally: Tally
    special: Special
    known: int
    untold: int


def run_record(wanted: Wanted, source: Path | Gateway, environment: Mapping[str, str]) -> int:
    """Record what is not recorded yet; 1 where some of it could not be, 2 where nothing can."""
    set_up_logs()
    try:
        servers = source if isinstance(source, Gateway) else read_settings_to_tune(source, environment)
        result = asyncio.run(recorded(wanted, servers, environment))
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except CANNOT as wrong:
        complain([str(wrong)])
        return WRONG_USE
    except KeyboardInterrupt:
        complain([f"stopped: {wanted.out} keeps what was answered, and the same command goes on"])
        return INTERRUPTED
    return report(wanted, result)


async def recorded(wanted: Wanted, servers: Settings | Gateway, environment: Mapping[str, str]) -> Result:
    """Ask, grade and keep. Raises one of CANNOT."""
    found = survey(wanted.questions())
    tally, untold = Tally(), Counter[bool]()
    async with Session() as session, asked_by(wanted.choice, servers, session) as asked:
        tiers, opining = asked.tiers, asked.opining
        special = Special(session, environment, tiers[-1].name)
        examiners = special.examiners(wanted.grader)
        for name in found.graders:
            examiners.check(name)
        opined = None if opining is None else opining.drafter
        with keeper(wanted.out, [tier.name for tier in tiers], opined) as file:

            async def keep(question: Recorded) -> None:
                graded = await examiners.grade(question)
                file.keep(graded)
                tally.add(graded)
                untold[opined is not None and p_true_in(graded.outputs[opined]) is None] += 1

            missing = file.missing(found)
            with progress(len(missing), "recording") as told:
                recorder = Recorder(tiers, keep, at_once=wanted.at_once, told=told, examining=opining)
                await recorder.run(only(wanted.questions(), missing))
    return Result(recorder, tally, special, len(found.digests) - len(missing), untold[True])


@asynccontextmanager
async def asked_by(choice: Choice, servers: Settings | Gateway, session: Session) -> AsyncIterator[Answering]:
    """The tiers. Raises CannotRecord."""
    if isinstance(servers, Gateway):
        yield await behind_gateway(servers, choice, session)
        return
    async with configured(servers, choice, session) as asked:
        yield asked


def report(wanted: Wanted, result: Result) -> int:
    """Say what was recorded, and what was not."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    recorder, tally = result.recorder, result.tally
    print_tally(console, tally)
    print_biases(console, result.special.biases)
    known = f" ({result.known} were recorded before)" if result.known else ""
    console.print(f"{tally.questions} questions recorded in {wanted.out}{known}")
    for tier, count in recorder.unsure.items():
        complain([f"{count} answers of {tier!r} came without log-probabilities: nothing can be fitted on those"])
    if result.untold:
        complain([f"of {result.untold} drafts {wanted.choice.p_true!r} did not say whether they are right"])
    if recorder.refused:
        complain([f"{recorder.refused} questions were refused, the first one because: {recorder.refusal}"])
    if recorder.failed:
        complain(
            [f"{recorder.failed} questions got no answer ({recorder.failure}): the same command asks for them again"]
        )
    return 1 if recorder.refused or recorder.failed else 0
