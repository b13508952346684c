"""Whether two models gave the same answer, as it was read out of what they said."""

from itertools import islice

from pydantic import JsonValue

from router.final_answers import numbers, same_json, tidied


def agree(answer: JsonValue, other: JsonValue) -> bool:
    """Whether they are equal as JSON, or as texts whatever their case and space; or the only number in each is the
    same, after its last `=` and whatever unit, sign of currency or separator of thousands stands with it. Nothing
    agrees with None."""
    if answer is None or other is None:
        return False
    if same_json(answer, other):
        return True
    first, second = plain(answer), plain(other)
    results = [list(islice(numbers(tidied(text.rpartition("=")[2])), 2)) for text in (first, second)]
    if all(len(found) == 1 for found in results):
        return results[0] == results[1]
    return bool(first) and first == second


def plain(answer: JsonValue) -> str:
    """An answer's text, in small letters, with single spaces."""
    return " ".join(str(answer).lower().split())
