"""Records as lines of a journal: JSON, one a line, under the record's kind."""

from typing import Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from server.store.records import Audit, Decision, Feedback, Passed, Record

Kind = Literal["decision", "audit", "feedback", "passed"]

KINDS: dict[type[Record], Kind] = {Decision: "decision", Audit: "audit", Feedback: "feedback", Passed: "passed"}
ADAPTERS: dict[str, TypeAdapter[Record]] = {
    "decision": TypeAdapter(Decision),
    "audit": TypeAdapter(Audit),
    "feedback": TypeAdapter(Feedback),
    "passed": TypeAdapter(Passed),
}

MOST_LATELY = 1024


class BadLine(Exception):
    """A line that holds no record, or a record that no line can hold."""


def kind_of(record: Record) -> Kind:
    """What a record is."""
    return KINDS[type(record)]


def line_of(record: Record) -> bytes:
    """The record's line, with its end. Raises BadLine."""
    try:
        return b'{"%s":%s}\n' % (kind_of(record).encode(), orjson.dumps(record))
    except orjson.JSONEncodeError as unwritable:
        raise BadLine(str(unwritable)) from unwritable


def record_of(line: bytes) -> Record:
    """A line's record; what a later version wrote beside what is known here is left out. Raises BadLine."""
    try:
        said = orjson.loads(line)
        ((kind, fields),) = said.items()
        return ADAPTERS[kind].validate_python(fields)
    except (ValidationError, ValueError, LookupError, AttributeError) as wrong:
        raise BadLine(type(wrong).__name__) from wrong


class Lately:
    """The records of lines that this process wrote a moment ago: it need not read them again. At most `MOST_LATELY`, so
    that it does not grow while the lines wait for a database."""

    def __init__(self) -> None:
        self._records: dict[bytes, Record] = {}

    def wrote(self, line: bytes, record: Record) -> None:
        """The record has this line, with its end."""
        if len(self._records) < MOST_LATELY:
            self._records[line[:-1]] = record

    def record_of(self, line: bytes) -> Record | None:
        """A line's record, which is forgotten; None where it holds none."""
        known = self._records.pop(line, None)
        if known is not None:
            return known
        try:
            return record_of(line)
        except BadLine:
            return None
