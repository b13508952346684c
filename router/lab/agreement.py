"""Whether two models gave the same answer, as it was read out of what they said."""

import re

from pydantic import JsonValue

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3}(?!\d))*(?:\.\d+)?")
CLOSE = 1e-6


def agree(answer: JsonValue, other: JsonValue) -> bool:
    """Whether they are equal as JSON, or as texts whatever their case and space; or the only number in each is the
    same, whatever unit, sign of currency or separator of thousands stands with it. Nothing agrees with None."""
    if answer is None or other is None:
        return False
    if type(answer) is type(other) and answer == other:
        return True
    first, second = plain(answer), plain(other)
    numbers = NUMBER.findall(first), NUMBER.findall(second)
    if len(numbers[0]) == len(numbers[1]) == 1:
        one, two = (float(found[0].replace(",", "")) for found in numbers)
        return abs(one - two) <= CLOSE * max(1.0, abs(one))
    return bool(first) and first == second


def plain(answer: JsonValue) -> str:
    """An answer's text, in small letters, with single spaces."""
    return " ".join(str(answer).lower().split())
