"""Checks that name the place of what is wrong, and refuse what is not served."""

from collections.abc import Iterable

from pydantic import BeforeValidator

from models.wire import Json, JsonObject
from server.doors.reading import only
from server.errors import RequestError

NOTHING_STORED = "nothing is stored here"
MAX_NAMED = 64


def nothing_but(*harmless: object, because: str) -> BeforeValidator:
    """Refuse a field by its name, unless it is null or has one of the values that change nothing."""
    return only(*harmless, otherwise=f"is not served: {because}")


def objects_in(values: Json, place: str) -> list[JsonObject]:
    """The objects in a list of objects. Raises RequestError."""
    if not isinstance(values, list):
        raise refusal(place, "should be a list")
    objects = [value for value in values if isinstance(value, dict)]
    if len(objects) < len(values):
        wrong = next(index for index, value in enumerate(values) if not isinstance(value, dict))
        raise refusal(f"{place}.{wrong}", "should be a mapping")
    return objects


def unserved(place: str, kind: Json, served: Iterable[str]) -> RequestError:
    """A thing of a type that is not served; which ones are."""
    named = f"{kind[:MAX_NAMED]!r} is not served" if isinstance(kind, str) else "is missing"
    return refusal(f"{place}.type", f"{named} (there are: {', '.join(served)})")


def refusal(place: str, message: str) -> RequestError:
    """The client's mistake at a place in its request."""
    return RequestError(f"{place}: {message}", param=place)
