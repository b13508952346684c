"""The file that questions are recorded in: a line for each that is complete, whatever happens between two of them."""

import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson

from router.lab.outcomes import P_TRUE, BadRecord, Recorded, recorded_of
from router.lab.questions import BadPrompts, Survey, digest_of

BEGINNING = b'{"id":'


class Keeper:
    """Adds to an open file, and knows which questions earlier runs recorded.

    Raises BadRecord where the file holds anything but questions that all of these tiers answered, with P(True) of the
    answers of `opined`.
    """

    def __init__(self, file: Path, opened: BinaryIO, tiers: Collection[str], opined: str | None = None) -> None:
        self._file = file
        self._opened = opened
        self._tiers = tiers
        self._opined = opined
        self._known: dict[str, bytes | None] = {}
        self._read()

    def missing(self, survey: Survey) -> list[str]:
        """The ids of the questions that are not recorded yet. Raises BadPrompts where another one has such an id."""
        for question, digest in survey.digests.items():
            if self._known.get(question) not in (None, digest):
                raise BadPrompts(
                    f"{self._file}: the question {question!r} was recorded with another request: give it another id, or"
                    " record into another file"
                )
        return [question for question in survey.digests if question not in self._known]

    def keep(self, recorded: Recorded) -> None:
        """Write a line. Raises OSError."""
        self._opened.write(line_of(recorded))
        self._opened.flush()

    def _read(self) -> None:
        """Learn what is there, and mend the last line where an earlier run was stopped while it wrote it."""
        self._opened.seek(0)
        whole, line = 0, b"\n"
        for number, line in enumerate(self._opened, 1):
            if is_cut(line):
                break
            if line.strip():
                self._check(recorded_of(line, f"{self._file}, line {number}"))
            whole += len(line)
        if is_cut(line):
            if whole == 0 and not line.startswith(BEGINNING[: len(line)]):
                raise BadRecord(f"{self._file}: holds no recorded questions")
            self._opened.truncate(whole)
        elif not line.endswith(b"\n"):
            self._opened.write(b"\n")

    def _check(self, recorded: Recorded) -> None:
        lacking = next((tier for tier in self._tiers if tier not in recorded.outputs), None)
        if lacking is not None:
            raise BadRecord(
                f"{self._file}: the question {recorded.id!r} has no answer of {lacking!r}: to add a tier, record this"
                " file itself into another one"
            )
        opined = recorded.outputs.get(self._opined or "")
        if self._opined is not None and (opined is None or P_TRUE not in (opined.opinions or {})):
            raise BadRecord(
                f"{self._file}: the question {recorded.id!r} has no P(True) of {self._opined!r}: to add it, record this"
                " file itself into another one"
            )
        self._learn(recorded)

    def _learn(self, recorded: Recorded) -> None:
        self._known[recorded.id] = None if recorded.request is None else digest_of(recorded.request)


@contextmanager
def keeper(file: Path, tiers: Collection[str], opined: str | None = None) -> Iterator[Keeper]:
    """The file, made where it is not there, for one run at a time. Raises BadRecord or OSError."""
    if file.suffix == ".gz":
        raise BadRecord(f"{file}: lines are added to it one by one: gzip it when it is complete")
    with locked(file) as opened:
        yield Keeper(file, opened, tiers, opined)


@contextmanager
def locked(file: Path) -> Iterator[BinaryIO]:
    """The file, opened to be added to, and to be read, by one run alone. Raises BadRecord or OSError."""
    with file.open("a+b") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise BadRecord(f"{file}: another run is writing to it") from taken
        yield opened


def line_of(recorded: Recorded) -> bytes:
    """A question as a line; what is not known is left out."""
    return recorded.model_dump_json(exclude_none=True).encode() + b"\n"


def is_cut(line: bytes) -> bool:
    """Whether a line's end is missing."""
    if line.endswith(b"\n"):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return True
    return False
