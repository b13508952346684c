"""Recorded outcomes: what each tier said to a question, one JSON object a line (docs/recorded.md)."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from models.answer import Draft, draft_of
from models.errors import ModelError
from models.parsing import delta_of
from router.scorers import AskingName

P_TRUE: AskingName = "p-true"


class BadRecord(Exception):
    """A line that is no recorded question."""


class Opinion(BaseModel):
    """What a model said when it was asked about an answer: `value` in [0, 1], None where it did not tell; which model
    that is, by its server too, the `seconds` it took and its `cost`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    value: Annotated[float, Field(ge=0, le=1)] | None = None
    fingerprint: str | None = None
    seconds: float | None = None
    cost: float | None = None


class Output(BaseModel):
    """What one model said: `text` whole and `answer` parsed from it, whether that is `correct` by a grader, its
    `confidence` in [0, 1]; the server's `reply` with log-probabilities, the `seconds` it took, its tokens and `cost`;
    what models said of it when they were asked (`opinions`, by the question's name). What was not recorded is None;
    fields of other names are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    text: str | None = None
    answer: JsonValue = None
    correct: bool | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    reply: dict[str, JsonValue] | None = None
    fingerprint: str | None = None
    seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    opinions: Mapping[str, Opinion] | None = None

    @property
    def said(self) -> str:
        """The text; where that was not recorded, the answer that was read out of it."""
        if self.text is not None:
            return self.text
        return "" if self.answer is None else str(self.answer)

    def draft(self) -> Draft | None:
        """The answer with its log-probabilities, where the reply was recorded. Raises BadRecord."""
        if self.reply is None:
            return None
        try:
            return draft_of([delta_of(orjson.dumps(self.reply), 0.0)])
        except (KeyError, TypeError, ValueError, ModelError) as wrong:
            raise BadRecord("a recorded reply is no chat completion") from wrong


def p_true_in(output: Output) -> float | None:
    """P(True) of an answer, where it was asked for and told."""
    opinion = (output.opinions or {}).get(P_TRUE)
    return None if opinion is None else opinion.value


class Recorded(BaseModel):
    """A question, and what the tiers said to it, by their names, in the cascade's order where it was recorded here.
    `request` is the chat request that was sent, `gold` the reference answer, `task` the kind of question; `grader` the
    one that this question wants, `graded_by` the one that told what is `correct`. Fields of other names are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    task: str | None = None
    prompt: str | None = None
    request: dict[str, JsonValue] | None = None
    gold: JsonValue = None
    grader: str | None = None
    graded_by: str | None = None
    outputs: Mapping[str, Output]

    @property
    def fields(self) -> Mapping[str, JsonValue]:
        """The chat request; a bare prompt is one message of a user's, and without either there is none."""
        if self.request is not None:
            return self.request
        return {"messages": [{"role": "user", "content": self.prompt}]} if self.prompt else {}


def read_outcomes(file: Path) -> Iterator[Recorded]:
    """The file's questions, gzipped or not. Raises BadRecord, or OSError where there is no such file."""
    for where, line in read_lines(file):
        yield recorded_of(line, where)


def read_lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """The file's lines, less the empty ones, gzipped or not, and where each is. Raises BadRecord or OSError."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{file}, line {number}", line
    except (EOFError, zlib.error) as cut:
        raise BadRecord(f"{file}: the gzipped file is broken") from cut


def recorded_of(line: bytes, where: str) -> Recorded:
    """One line. Raises BadRecord."""
    try:
        return Recorded.model_validate_json(line)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the line"
        raise BadRecord(f"{where}: no recorded question: {key}: {first['msg']}") from wrong
