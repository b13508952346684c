"""Which questions an artefact was made of, as a sketch that knows them again in any file. Pure."""

from collections.abc import Iterable
from hashlib import sha256

import orjson

from models.wire import Json
from router.lab.outcomes import Recorded

DIGITS = 12  # hexadecimal, of a question's hash: two of a million questions are taken for one with probability 0.002
MOST = 2048


def mark_of(question: Recorded) -> str:
    """The beginning of the SHA-256, in hexadecimal digits, of what was asked, whatever else of it was recorded; where
    the words were not, of its id, its task and its right answer."""
    asked: Json = None if question.request is None else question.request.get("messages", question.request)
    if asked is None and question.prompt is not None:
        asked = [{"role": "user", "content": question.prompt}]
    if asked is None:
        asked = [question.id, question.task, question.gold]
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:DIGITS]


def sketch_of(marks: Iterable[str]) -> str:
    """The least 2,048 of the marks, one behind the other: as marks are hashes, a sample drawn at random without
    repetition (bottom-k sketch: Broder, "On the resemblance and containment of documents", 1997)."""
    return "".join(sorted(set(marks))[:MOST])


def share_seen(sketch: str, marks: Iterable[str]) -> float:
    """What share, in [0, 1], of the questions with these marks are among those of the sketch: exact where those are
    2,048 at most, else an estimate from the marks that the sketch would have kept; 0 where there are none of these."""
    known = {sketch[start : start + DIGITS] for start in range(0, len(sketch), DIGITS)}
    greatest = max(known, default="") if len(known) >= MOST else "f" * DIGITS
    sampled = {mark for mark in marks if mark <= greatest}
    return len(sampled & known) / len(sampled) if sampled else 0.0
