"""Grades by a command of the operator's: an answer is right where it exits with 0. No shell has a part in it."""

import asyncio
import json
import os
import shlex
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from router.lab.grading import CannotGrade, Mark, answers_of
from router.lab.outcomes import Recorded

LONGEST = 100_000  # bytes of one variable; Linux takes 128 KiB


@dataclass(frozen=True, slots=True)
class ByCommand:
    """Runs a command for each answer, which it reads from standard input; the question is in its environment, as ID,
    TASK, PROMPT and GOLD. One that runs longer than `limit_s` is killed, and the answer is wrong."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    limit_s: float

    async def examine(self, question: Recorded) -> Mapping[str, Mark]:
        """The marks; none can be told where the question is too long for an environment."""
        variables = variables_of(question)
        fits = all(len(value.encode()) <= LONGEST for value in variables.values())
        return {
            tier: Mark(
                question.outputs[tier].answer,
                await self._passes(text, {**self.environment, **variables}) if fits else None,
            )
            for tier, text in answers_of(question).items()
        }

    async def _passes(self, text: str, environment: Mapping[str, str]) -> bool:
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command, env=environment, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as wrong:
            raise CannotGrade(f"command {self.command[0]!r}: {wrong.strerror}") from wrong
        try:
            async with asyncio.timeout(self.limit_s):
                await process.communicate(text.encode(errors="replace"))
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return process.returncode == 0


def command_of(line: str, environment: Mapping[str, str], limit_s: float) -> ByCommand:
    """The command that a line of words is, quoted as in a shell. Raises CannotGrade."""
    try:
        words = shlex.split(line)
    except ValueError as wrong:
        raise CannotGrade(f"command {line!r}: {str(wrong).lower()}") from wrong
    if not words:
        raise CannotGrade("command: say which one: --grader 'command:PROGRAM ARGUMENTS'")
    if shutil.which(words[0], path=environment.get("PATH")) is None:
        raise CannotGrade(f"command {words[0]!r}: there is no such program")
    return ByCommand(tuple(words), environment, limit_s)


def variables_of(question: Recorded) -> Mapping[str, str]:
    """The question as environment variables, which hold no NUL."""
    gold = question.gold
    told = {
        "ID": question.id,
        "TASK": question.task or "",
        "PROMPT": question.prompt or "",
        "GOLD": gold if isinstance(gold, str) else "" if gold is None else json.dumps(gold, ensure_ascii=False),
    }
    return {name: value.replace("\0", "") for name, value in told.items()}
