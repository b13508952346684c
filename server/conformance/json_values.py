"""JSON as Python has it, and looking into it without trusting its shape."""

import json
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def at(value: Json, *path: str | int) -> Json:
    """What is at the end of the path; None where something on the way is not there."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def objects(value: Json) -> list[JsonObject]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def is_count(value: Json) -> bool:
    """Whether it is a whole number, 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON: 1 and 1.0 are one number, true and 1 are not the same, and no part of an
    object is missing or added."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def difference(got: Json, wanted: Json, path: str = "") -> str | None:
    """The first place where two values are not the same JSON, in words; None where they are."""
    if same(got, wanted):
        return None
    if isinstance(got, dict) and isinstance(wanted, dict):
        inner = ((f"{path}.{name}" if path else name, name in got, got.get(name), wanted[name]) for name in wanted)
        for where, is_there, one, other in inner:
            found = difference(one, other, where) if is_there else f"{where} is missing"
            if found:
                return found
        return f"{path or 'it'} has {', '.join(sorted(got.keys() - wanted.keys()))} too"
    if isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        pairs = enumerate(zip(got, wanted, strict=True))
        return next(filter(None, (difference(one, other, f"{path}[{place}]") for place, (one, other) in pairs)), None)
    return f"{path or 'it'} is {short(got, 50)} instead of {short(wanted, 50)}"


def short(value: Json, most: int = 100) -> str:
    """A value in one line of a table."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]}…"
