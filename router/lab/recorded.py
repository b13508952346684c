"""Recorded answers: one JSON object a line, with the chat `request` that was sent and the `reply` that came."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from models.answer import Draft, draft_of
from models.errors import ModelError
from models.parsing import delta_of
from models.prompt import Prompt


class BadRecord(Exception):
    """A line that is no recorded answer."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request, and the draft that a model made of it."""

    prompt: Prompt
    draft: Draft


def read_recorded(file: Path) -> Iterator[Recorded]:
    """The file's answers. Raises BadRecord, or OSError where there is no such file."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield recorded_of(line, f"{file}, line {number}")


def recorded_of(line: bytes, where: str) -> Recorded:
    """One line. Raises BadRecord."""
    try:
        said = orjson.loads(line)
        request, reply = said["request"], said["reply"]
        delta = delta_of(orjson.dumps(reply), 0.0)
        return Recorded(Prompt({**request}, where), draft_of([delta]))
    except (KeyError, TypeError, ValueError, ModelError) as wrong:
        raise BadRecord(f"{where}: no recorded answer: a `request` and its `reply` are wanted") from wrong
