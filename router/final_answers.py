"""Finds the final answer in what a model said: a number, the letter of a choice, or JSON. Pure, and linear in the text.

What is looked for, in this order: a JSON object's `answer`, the last `\\boxed{}`, what follows `####`, what follows
"answer is" or "answer:"; then whatever each kind of answer allows.
"""

import json
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

from models.wire import Json, JsonObject

T = TypeVar("T")
MOST_CHARACTERS = 100_000
MOST_TRIES = 64
MOST_DIGITS = 60
MOST_EXPONENT = 400
ANSWER_KEYS = ("answer", "final_answer", "final answer", "choice", "option")

FENCED = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)```", re.DOTALL)
BOXED = re.compile(r"\\boxed\s*\{")
HASHES = re.compile(r"#{4}[ \t]*")
TOLD = re.compile(r"\b(?:answer|option|choice)\b[\s\"'*_`]{0,8}(?:is|are|:|=|：)[\s\"'*_`:]{0,8}", re.IGNORECASE)
JSON_BEGINS = re.compile(r"[{\[]")

SEPARATOR = r"(?:,|\{,\}|\\,|[\u00a0\u202f\u2009])"
PLAIN = rf"(?:\d{{1,3}}(?:{SEPARATOR}\d{{2,3}}){{0,12}}{SEPARATOR}\d{{3}}(?!\d)|\d+)(?:\.\d+)?|\.\d+"
NUMBER = re.compile(
    rf"(?:(?<![\w)\]}}])(?P<sign>[-−–]))?[$€£¥₹]?(?<![A-Za-z_\d.])"
    rf"(?:(?P<whole>\d+)[ \t]{{1,2}}(?P<part>\d+)/(?P<parts>\d+)"
    rf"|(?P<mantissa>{PLAIN})"
    rf"(?:/(?P<under>\d+)(?![/\d])"
    rf"|[eE](?P<e>[-+]?\d+)(?!\w)"
    rf"|\^\{{?(?P<power>[-−]?\d+)\}}?"
    rf"|[ \t]{{0,2}}(?:×|\*|\\times|\\cdot)[ \t]{{0,2}}10\^\{{?(?P<ten>[-−]?\d+)\}}?)?)"
)
LATEX_FRACTION = re.compile(r"\\[dt]?frac\s{0,2}\{\s{0,2}(\d+)\s{0,2}\}\s{0,2}\{\s{0,2}(\d+)\s{0,2}\}")
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
TEN_RAISED = re.compile(r"(?<=10)[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
VULGARS = re.compile("|".join(VULGAR))

OPENING = r"[\s*_`\"'$#(\[{<]*"
NAMED = r"(?:(?i:option|choice|letter)\b[\s:*_\"'(\[]*)?"
LETTER = re.compile(
    rf"{OPENING}{NAMED}(?:\\text\{{[\s(]*)?(?P<letter>[A-Z])(?=[\s*_`\"')\]}}>]*(?:$|\n|[:.,;)\]*](?![A-Za-z])))"
)
LETTER_THEN_WORDS = re.compile(rf"{OPENING}{NAMED}(?P<letter>[A-HJ-Z])(?=\s)")
LOWER_LETTER = re.compile(r"[\s*_`\"'$(\[{<]*(?P<letter>[a-z])[\s*_`\"')\]}>.]*$")
IN_BRACKETS = re.compile(r"\(([A-Z])\)")


def number_in(text: str) -> Fraction | None:
    """The number that the text comes to: the first one of its final answer, after the last `=` of that; without a
    final answer the last one of all. Signs, thousands, fractions, powers of ten and LaTeX are read; currencies, units
    and `%` are not: 50 % is 50."""
    told = tidied(text[-MOST_CHARACTERS:])
    for segment in final_answers(told):
        first = next(numbers(segment.rpartition("=")[2]), None)
        if first is not None:
            return first
    return last(numbers(told))


def choice_in(text: str) -> str | None:
    """The letter of the option that the text chooses, in capitals."""
    told = text[-MOST_CHARACTERS:]
    for segment in final_answers(told):
        letter = letter_at(segment) or then_words(segment) or only_bracketed(segment)
        if letter is not None:
            return letter
    last_line = told.strip().rpartition("\n")[2]
    return letter_at(told.strip()) or letter_at(last_line) or only_bracketed(last_line)


def json_in(text: str) -> Json:
    """The JSON value that the text is, or that its last fenced block is, or its last object or array; None where there
    is none. Numbers that no float holds are no JSON here."""
    told = text[-MOST_CHARACTERS:]
    whole = parsed(told)
    if whole is not None:
        return whole
    for block in reversed(FENCED.findall(told)):
        fenced = parsed(block)
        if fenced is not None:
            return fenced
    return last_value(told)


def written(number: Fraction) -> str:
    """The number as a decimal where that ends within twelve places, else as a fraction in lowest terms."""
    for places in range(13):
        scaled = number * 10**places
        if scaled.denominator == 1:
            digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
            sign = "-" if number < 0 else ""
            return f"{sign}{digits[: len(digits) - places]}{'.' if places else ''}{digits[len(digits) - places :]}"
    return str(number)


def same_json(one: Json, other: Json) -> bool:
    """Whether two values are equal: numbers by value, objects whatever the order of their keys; true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return one == other


def final_answers(text: str) -> Iterator[str]:
    """Where a final answer is marked as one, the surest mark first."""
    value = json_in(text) if "{" in text else None
    if isinstance(value, dict):
        yield from fields(value)
    box = boxed(text)
    if box is not None:
        yield box
    for mark in (HASHES, TOLD):
        told = last(mark.finditer(text))
        if told is not None:
            yield text[told.end() :].partition("\n")[0]


def last(items: Iterable[T]) -> T | None:
    """The last one, if there is one."""
    found = deque(items, maxlen=1)
    return found[0] if found else None


def fields(value: JsonObject) -> Iterator[str]:
    """The object's answer, as text."""
    lowered = {key.lower(): one for key, one in value.items()}
    for key in ANSWER_KEYS:
        answer = lowered.get(key)
        if isinstance(answer, str | int | float) and not isinstance(answer, bool):
            yield str(answer)


def boxed(text: str) -> str | None:
    """What the last `\\boxed{}` holds, braces within it included."""
    box = last(BOXED.finditer(text))
    if box is None:
        return None
    depth = 1
    for place in range(box.end(), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[box.end() : place]
    return None


def tidied(text: str) -> str:
    """The text with its fractions and powers in plain letters."""
    plain = LATEX_FRACTION.sub(lambda found: apart(found, f"{found[1]}/{found[2]}"), text)
    plain = VULGARS.sub(lambda found: apart(found, VULGAR[found[0]]), plain).replace("⁄", "/")
    return TEN_RAISED.sub(lambda found: f"^{found[0].translate(RAISED)}", plain)


def apart(found: re.Match[str], fraction: str) -> str:
    """A fraction that does not run into a whole number before it."""
    before = found.string[found.start() - 1 : found.start()]
    return f" {fraction}" if before.isdigit() else fraction


def numbers(text: str) -> Iterator[Fraction]:
    """The numbers of a text, in order; those that are absurdly long are left out."""
    for found in NUMBER.finditer(text):
        if len(found[0]) <= MOST_DIGITS:
            value = value_of(found)
            if value is not None:
                yield -value if found["sign"] else value


def value_of(found: re.Match[str]) -> Fraction | None:
    """Its value, without the sign; None of what is divided by 0, or too large to write down."""
    if found["whole"]:
        whole, part, parts = (int(found[name]) for name in ("whole", "part", "parts"))
        return None if parts == 0 else whole + Fraction(part, parts)
    mantissa = Fraction(re.sub(SEPARATOR, "", found["mantissa"]))
    if found["under"]:
        return None if int(found["under"]) == 0 else mantissa / int(found["under"])
    exponent = int((found["e"] or found["ten"] or found["power"] or "0").replace("−", "-"))
    if found["power"] is None:
        return None if abs(exponent) > MOST_EXPONENT else mantissa * Fraction(10) ** exponent
    size = abs(exponent) * math.log10(mantissa) if mantissa > 1 else 0
    return None if size > MOST_EXPONENT or abs(exponent) > MOST_EXPONENT or not mantissa else mantissa**exponent


def letter_at(segment: str) -> str | None:
    """The letter that the segment begins with, set apart from what follows; a small one must be all there is."""
    found = LETTER.match(segment) or LOWER_LETTER.match(segment)
    return found["letter"].upper() if found else None


def then_words(segment: str) -> str | None:
    """The capital that the segment begins with, though words follow it; never the word `I`."""
    found = LETTER_THEN_WORDS.match(segment)
    return found["letter"] if found else None


def only_bracketed(line: str) -> str | None:
    """The capital in brackets, where the line has no other."""
    letters = set(IN_BRACKETS.findall(line))
    return letters.pop() if len(letters) == 1 else None


def parsed(text: str) -> Json:
    """The JSON value that the text is; None where it is none, or `null`."""
    try:
        value: Json = json.loads(text, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError):
        return None
    return value


def last_value(text: str) -> Json:
    """The last object or array that stands in the text, not inside another one."""
    decoder = json.JSONDecoder(parse_float=finite, parse_constant=finite)
    found: Json = None
    place, tries = 0, 0
    while tries < MOST_TRIES and (begins := JSON_BEGINS.search(text, place)) is not None:
        try:
            found, place = decoder.raw_decode(text, begins.start())
        except (ValueError, RecursionError):
            place, tries = begins.end(), tries + 1
    return found


def finite(literal: str) -> float:
    """The number. Raises ValueError where it is none, or too large for one."""
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError("no JSON number")
    return value
