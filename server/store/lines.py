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
