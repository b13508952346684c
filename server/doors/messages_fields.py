"""The types that the Messages API's fields are made of, and the values that a field without an equivalent may have."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from server.doors.reading import Object, only


def not_served(value: object) -> None:
    """None for a value that asks for nothing. Raises ValueError."""
    if value:
        raise ValueError("is not served here")


def nothing_but(*harmless: object) -> BeforeValidator:
    """Takes these values alone: they change nothing."""
    return only(*harmless, otherwise=f"is served here as {' or '.join(map(repr, harmless))} alone")


def called(name: str) -> BeforeValidator:
    """Refuses a field of chat completions that has another name in this API."""
    return only(otherwise=f"is no field of this API: use {name}")


def as_blocks(content: object) -> object:
    """A text alone stands for one block of text. Raises ValueError."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise ValueError("should be a string or a list of blocks")
    return content


NotServed = Annotated[None, BeforeValidator(not_served)]
Blocks = Annotated[list[Object], Field(fail_fast=True), BeforeValidator(as_blocks)]
