"""The types that the Messages API's fields are made of, and the values that a field without an equivalent may have."""

from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from server.doors.reading import Closed, Object, invalid_field
from server.errors import RequestError


class Part(Closed):
    """A part of a request of which every key is known."""


Known = TypeVar("Known", bound=Part)


def part(kind: type[Known], fields: Object, at: str) -> Known:
    """The part of a request that is found `at` this path. Raises RequestError."""
    try:
        return kind.model_validate(fields)
    except ValidationError as invalid:
        wrong = invalid_field(invalid, kind).problem
        path = f"{at}.{wrong.param}" if wrong.param else at
        message = f"{at}.{wrong.message}" if wrong.param else f"{at}: {wrong.message}"
        raise RequestError(message, param=path) from invalid


def not_served(value: object) -> None:
    """None for a value that asks for nothing. Raises ValueError."""
    if value:
        raise ValueError("is not served here")


def nothing_but(*harmless: object) -> BeforeValidator:
    """Takes these values alone: they change nothing."""

    def checked(value: object) -> object:
        if value is not None and value not in harmless:
            raise ValueError(f"is served here as {' or '.join(map(repr, harmless))} alone")
        return value

    return BeforeValidator(checked)


def called(name: str) -> BeforeValidator:
    """Refuses a field of chat completions that has another name in this API."""

    def checked(value: object) -> None:
        if value is not None:
            raise ValueError(f"is no field of this API: use {name}")

    return BeforeValidator(checked)


def as_blocks(content: object) -> object:
    """A text alone stands for one block of text. Raises ValueError."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise ValueError("should be a string or a list of blocks")
    return content


NotServed = Annotated[None, BeforeValidator(not_served)]
Blocks = Annotated[list[Object], Field(fail_fast=True), BeforeValidator(as_blocks)]
