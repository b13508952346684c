"""Checks that name the place of what is wrong, and refuse what is not served."""

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, BeforeValidator

from models.wire import Json, JsonObject
from server.doors.reading import Closed, checked
from server.errors import RequestError

NOTHING_STORED = "nothing is stored here"
MAX_NAMED = 64

Kind = TypeVar("Kind", bound=BaseModel)


class Part(Closed):
    """A part of a request of which every key is known."""


def nothing_but(*harmless: object, because: str) -> BeforeValidator:
    """Refuse a field by its name, unless it is null or has one of the values that change nothing."""

    def check(value: object) -> object:
        if value is not None and value not in harmless:
            raise ValueError(f"is not served: {because}")
        return value

    return BeforeValidator(check)


def objects_in(values: Json, place: str) -> list[JsonObject]:
    """The objects in a list of objects. Raises RequestError."""
    if not isinstance(values, list):
        raise refusal(place, "should be a list")
    objects = [value for value in values if isinstance(value, dict)]
    if len(objects) < len(values):
        wrong = next(index for index, value in enumerate(values) if not isinstance(value, dict))
        raise refusal(f"{place}.{wrong}", "should be a mapping")
    return objects


def checked_at(kind: type[Kind], fields: JsonObject, place: str) -> Kind:
    """As `checked`, for an object inside the request: its fields' names begin with its place."""
    try:
        return checked(kind, fields)
    except RequestError as wrong:
        problem = wrong.problem
        if problem.param is None:
            raise refusal(place, problem.message) from wrong
        raise RequestError(f"{place}.{problem.message}", param=f"{place}.{problem.param}") from wrong


def unserved(place: str, kind: Json, served: Iterable[str]) -> RequestError:
    """A thing of a type that is not served; which ones are."""
    named = f"{kind[:MAX_NAMED]!r} is not served" if isinstance(kind, str) else "is missing"
    return refusal(f"{place}.type", f"{named} (there are: {', '.join(served)})")


def refusal(place: str, message: str) -> RequestError:
    """The client's mistake at a place in its request."""
    return RequestError(f"{place}: {message}", param=place)
