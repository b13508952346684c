"""A body's bytes to checked fields, or an error that names the field by the client's own name for it."""

from collections.abc import Mapping
from itertools import takewhile
from typing import TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from models.wire import JsonObject
from server.errors import RequestError
from server.wording import plain

Object = dict[str, object]
MAX_DEPTH = 250  # deeper JSON can be read, but not written again


class Closed(BaseModel):
    """A part of a request of which every key is known: one that is not is an error, and a million of them are one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _one_stranger_is_enough(cls, fields: object) -> object:
        if not isinstance(fields, dict) or len(fields) <= len(cls.model_fields):
            return fields
        names = {field.alias or name for name, field in cls.model_fields.items()}
        stranger = next(name for name in fields if name not in names)
        return {name: value for name, value in fields.items() if name in names or name == stranger}


class Wire(BaseModel):
    """A part of a request, checked strictly; what is not named is not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Part(Closed):
    """A part of a request inside an API's own fields."""


Request = TypeVar("Request", bound=BaseModel)


def read_fields(body: bytes) -> JsonObject:
    """The JSON object in a body. Raises RequestError."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        raise RequestError(f"the body is no JSON: {broken}") from broken
    if not isinstance(fields, dict):
        raise RequestError("the body is no JSON object")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_too_deep(fields):
        raise RequestError(f"the body is nested more than {MAX_DEPTH} levels deep")
    return fields


def checked(kind: type[Request], fields: Mapping[str, object]) -> Request:
    """The fields as a request of this kind. Raises RequestError."""
    try:
        return kind.model_validate(fields)
    except ValidationError as invalid:
        raise invalid_field(invalid, kind) from invalid


def checked_at(kind: type[Request], fields: Mapping[str, object], place: str) -> Request:
    """As `checked`, for an object inside the request: its fields' names begin with its place."""
    try:
        return checked(kind, fields)
    except RequestError as wrong:
        problem = wrong.problem
        if problem.param is None:
            raise RequestError(f"{place}: {problem.message}", param=place) from wrong
        raise RequestError(f"{place}.{problem.message}", param=f"{place}.{problem.param}") from wrong


def only(*harmless: object, otherwise: str) -> BeforeValidator:
    """Takes null and these values, which change nothing; for any other the field is refused with these words."""

    def check(value: object) -> object:
        if value is not None and value not in harmless:
            raise ValueError(otherwise)
        return value

    return BeforeValidator(check)


def is_too_deep(fields: Object) -> bool:
    """Whether a JSON object is nested deeper than it could be written again."""
    level: list[Object | list[object]] = [fields]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def invalid_field(invalid: ValidationError, kind: type[BaseModel]) -> RequestError:
    """The first thing that is wrong, under the name that the client gave it."""
    first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    whole_path = [str(part) for part in first["loc"]]
    path = list(takewhile(lambda part: not is_union_member(part), whole_path))
    message = plain(first["msg"]) if path == whole_path else "has the wrong type"
    field, _, rest = message.partition(": ")
    if not path and field in kind.model_fields:
        path, message = [field], rest
    param = ".".join(path) or None
    return RequestError(f"{param}: {message}" if param else message, param=param)


def is_union_member(part: str) -> bool:
    """Whether a part of an error's path is no field, but the alternative of a union that was tried."""
    return part == "str" or part.startswith(("list[", "dict["))
