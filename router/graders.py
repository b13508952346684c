"""Tells whether an answer is right, from a reference, or whether two answers are the same one. Pure functions.

An answer that holds nothing of the kind that is wanted is wrong. Where the reference holds none, nothing can be told.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from models.answer import Choice, ToolCall
from models.wire import Json
from router.final_answers import MOST_CHARACTERS, choice_in, json_in, last, number_in, parsed, same_json, written

PLUG_INS = "smallfirst.graders"
REGEX = "regex:"


class UnknownGrader(ValueError):
    """There is no grader of that name."""


@runtime_checkable
class Grader(Protocol):
    """One way to grade."""

    def answer_of(self, text: str) -> Json:
        """The answer in a text, for people to read and for `grade` to take as a reference; None where it has none."""
        ...

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whether the text is right by the reference; None where the reference does not say."""
        ...


@dataclass(frozen=True, slots=True)
class Exact:
    """The text itself, surrounding space aside; a reference that is a number or a truth value is taken as JSON has
    it."""

    def answer_of(self, text: str) -> Json:
        """The text without surrounding space."""
        return text.strip() or None

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whether they are equal."""
        if reference is None or isinstance(reference, list | dict):
            return None
        wanted = reference if isinstance(reference, str) else json.dumps(reference)
        return text.strip() == wanted.strip()


@dataclass(frozen=True, slots=True)
class Numeric:
    """The number that an answer comes to, compared by its exact value."""

    def answer_of(self, text: str) -> Json:
        """The number, as `written` has it."""
        number = number_in(text)
        return None if number is None else written(number)

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whether the numbers are equal."""
        wanted = number_of(reference)
        return None if wanted is None else number_in(text) == wanted


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """The letter of the chosen option."""

    def answer_of(self, text: str) -> Json:
        """The letter, in capitals."""
        return choice_in(text)

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whether the letters are equal."""
        wanted = choice_in(reference) if isinstance(reference, str) else None
        return None if wanted is None else choice_in(text) == wanted


@dataclass(frozen=True, slots=True)
class JsonEquality:
    """A JSON value, alone, in a code fence or among words: equal whatever the order of keys, numbers by value. A
    reference that is a text may be the value itself, or hold it."""

    def answer_of(self, text: str) -> Json:
        """The value."""
        return json_in(text)

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whether the values are equal."""
        answer = json_in(text)
        held = json_in(reference) if isinstance(reference, str) else reference
        if held is None and not isinstance(answer, str):
            return None
        return answer is not None and any(map(same_json, (answer, answer), (held, reference)))


@dataclass(frozen=True, slots=True)
class RegularExpression:
    """What the pattern finds last: its first group, compared with the reference less surrounding space; a pattern
    without groups is right wherever it is found, whatever the reference. Only the end of a long text is searched."""

    pattern: re.Pattern[str]

    def answer_of(self, text: str) -> Json:
        """The group, or all that was found."""
        place = last(self.pattern.finditer(text[-MOST_CHARACTERS:]))
        if place is None:
            return None
        found: str | None = place[1] if self.pattern.groups else place[0]
        return None if found is None else found.strip()

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whether it is found, or what is found is equal."""
        said = self.answer_of(text)
        if not self.pattern.groups:
            return said is not None
        if reference is None:
            return None
        return isinstance(said, str) and Exact().grade(said, reference)


GRADERS: Mapping[str, Grader] = {
    "exact": Exact(),
    "numeric": Numeric(),
    "choice": MultipleChoice(),
    "json": JsonEquality(),
}


def grader_of(name: str) -> Grader:
    """The grader of that name: one of ours, `regex:PATTERN`, or one that an installed package offers as an entry point
    of the group `smallfirst.graders`. Raises UnknownGrader."""
    if name in GRADERS:
        return GRADERS[name]
    if name.startswith(REGEX):
        try:
            return RegularExpression(re.compile(name.removeprefix(REGEX)))
        except re.error as wrong:
            raise UnknownGrader(f"grader {name!r}: no regular expression: {wrong}") from wrong
    installed = entry_points(group=PLUG_INS)
    for one in installed.select(name=name):
        return plugged_in(name, one.load())
    names = ", ".join([*GRADERS, "regex:PATTERN", *sorted(installed.names)])
    raise UnknownGrader(f"there is no grader {name!r} (there are: {names})")


def plugged_in(name: str, loaded: object) -> Grader:
    """The grader that an entry point names, itself or as a class. Raises UnknownGrader."""
    grader = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(grader, Grader):
        raise UnknownGrader(f"grader {name!r}: its package offers something without `answer_of` and `grade`")
    return grader


def same_answer(one: str, other: str, grader: Grader) -> bool | None:
    """Whether both texts give one answer; None where the `other` gives none."""
    answer = grader.answer_of(other)
    return None if answer is None else grader.grade(one, answer)


def said_in(choice: Choice) -> str:
    """What a grader reads of an answer: its text, and the calls of tools as JSON: one as an object, several as a
    list."""
    if not choice.tool_calls:
        return choice.text
    calls = [called(call) for call in choice.tool_calls]
    return f"{choice.text}\n{json.dumps(calls[0] if len(calls) == 1 else calls)}".lstrip()


def called(call: ToolCall) -> Json:
    """A call, its arguments as JSON where they are JSON."""
    arguments = parsed(call.arguments)
    return {"name": call.name, "arguments": call.arguments if arguments is None else arguments}


def number_of(reference: Json) -> Fraction | None:
    """The number that a reference is, or holds."""
    if isinstance(reference, bool) or not isinstance(reference, str | int | float):
        return None
    return number_in(reference if isinstance(reference, str) else json.dumps(reference))
