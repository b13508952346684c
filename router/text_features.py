"""What a draft's text shows of whether it is right, as numbers by name. Pure, in time linear in the text; a scorer that
was fitted on recorded drafts weighs them, and a draft of any kind has all of them.

They need no log-probabilities, so they are there for a server that sends none, and for recorded texts alone. Counts are
ln(1 + count), so that long drafts are not all that a weight sees. Of longer texts and questions the last 10,000
characters count, which bounds what a request may cost: a few milliseconds.
"""

import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

LONGEST = 10_000
CLOSE = 0.01
MOST_TERMS = 12

SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
OPTION = re.compile(r"^\(?([A-Z])[.)] (.*)$", re.MULTILINE)
HEDGE = re.compile(
    r"\b(?:however|but|wait|unsure|not sure|unclear|cannot|can[’']t|not possible|assum\w+|approximat\w+|closest|might"
    r"|may|likely|probably|perhaps|maybe|seems?|appears?|guess\w*|error|mistake|incorrect|none of)\b",
    re.IGNORECASE,
)
DIGITS = r"\d+(?:,\d{3}(?!\d))*(?:\.\d+)?"
NUMBER = re.compile(rf"(?<![\w.])-?{DIGITS}")
TERM = rf"\$?{DIGITS}"
SUM = re.compile(
    rf"(?<![\w.,*/+-])(?<![-+*/x×÷] )({TERM}(?: ?[-+*/x×÷] ?{TERM}){{1,{MOST_TERMS}}})"  # 2 + 3 * 4
    rf" ?= ?\$?(-?{DIGITS})(?![\d.,]*\d| ?[-+*/x×÷^%])"  # = 14, if that is where it ends
)
OPERATOR = re.compile(r"(?<=\d) ?([-+*/x×÷]) ?(?=[\d$])")

PREFIX = "text-"
TEXT_FEATURES = (
    "text-length", "text-sentences", "text-repeated-sentences", "text-compressed", "text-digits", "text-capitals",
    "text-symbols", "text-closed", "text-hedges", "text-equations", "text-sums", "text-wrong-sums",
    "text-prompt-numbers-used", "text-own-numbers", "text-answer-found", "text-answer-fraction", "text-answer-option",
    "text-other-options",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A question that drafts are read beside; what is in it is looked for once, and when it is first wanted."""

    text: str

    @cached_property
    def numbers(self) -> frozenset[float]:
        """Every number in it."""
        return frozenset(numbers_in(self.text[-LONGEST:]))

    @cached_property
    def options(self) -> Mapping[str, str]:
        """What stands beside each letter, where it has lettered options."""
        return dict(OPTION.findall(self.text[-LONGEST:]))


def text_features(text: str, *, prompt: str = "", answer: str | None = None) -> Mapping[str, float]:
    """Every feature of a draft, by name: `text` is what it says, `prompt` the question, and `answer` what was read out
    of the text as its final answer, None where nothing could be.

    Of a longer text, the last 10,000 characters count. Finite numbers, at least 0.
    """
    return features_beside(Asked(prompt), text, answer)


def features_beside(asked: Asked, text: str, answer: str | None) -> Mapping[str, float]:
    """The same, of a question that several drafts are read beside."""
    said, given = text[-LONGEST:], (answer or "").strip()
    features = {**shape(said), **wording(said), **numbers(said, asked), **final_answer(said, asked, given)}
    return {PREFIX + name: value for name, value in features.items()}


def shape(text: str) -> Mapping[str, float]:
    """How long it is, what it is made of, how often it says the same, and whether it comes to an end."""
    size = max(1, len(text))
    sentences = [part for part in map(str.strip, SENTENCE_END.split(text)) if part]
    return {
        "length": math.log1p(len(text)),
        "sentences": math.log1p(len(sentences)),
        "repeated-sentences": (len(sentences) - len(set(sentences))) / max(1, len(sentences)),
        "compressed": len(zlib.compress(text.encode("utf-8", "replace"))) / size if text else 0.0,
        "digits": sum(map(str.isdigit, text)) / size,
        "capitals": sum(map(str.isupper, text)) / size,
        "symbols": sum(not (one.isalnum() or one.isspace()) for one in text) / size,
        "closed": float(text.rstrip().endswith((".", "!", "?", "}", "]", ")", "`"))),
    }


def wording(text: str) -> Mapping[str, float]:
    """Words of doubt."""
    return {"hedges": log_count(HEDGE.finditer(text))}


def numbers(text: str, question: Asked) -> Mapping[str, float]:
    """What it calculates, whether that holds, and whether the question's numbers are taken up."""
    asked, used = question.numbers, set(numbers_in(text))
    sums = list(sums_in(text))
    return {
        "equations": math.log1p(text.count("=")),
        "sums": math.log1p(len(sums)),
        "wrong-sums": math.log1p(sums.count(False)),
        "prompt-numbers-used": len(asked & used) / max(1, len(asked)),
        "own-numbers": math.log1p(len(used - asked)),
    }


def final_answer(text: str, question: Asked, answer: str) -> Mapping[str, float]:
    """What it answers. Where the question has lettered options, a letter stands for its option's text; small models
    favour some places among them, and name others before they choose."""
    options = question.options
    reasoning = before(text, answer).lower()
    others = (text_of(options[letter]) for letter in options if letter != answer)
    return {
        "answer-found": float(bool(answer)),
        "answer-fraction": float(any(not value.is_integer() for value in numbers_in(options.get(answer, answer)))),
        "answer-option": (list(options).index(answer) + 1) / len(options) if answer in options else 0.0,
        "other-options": log_count(other for other in others if other and other in reasoning),
    }


def text_of(option: str) -> str:
    """What it says, without its ending."""
    return option.strip().rstrip(".").lower()


def before(text: str, answer: str) -> str:
    """The text up to where its answer stands last; all of it where the answer is not in it."""
    place = text.rfind(answer) if answer else -1
    return text if place < 0 else text[:place]


def numbers_in(text: str) -> Sequence[float]:
    """Every number, in order; one that is too large for a float is left out."""
    values = map(value_of, NUMBER.findall(text))
    return [value for value in values if math.isfinite(value)]


def value_of(written: str) -> float:
    """A number as people write it."""
    return float(written.replace(",", "").replace("$", ""))


def sums_in(text: str) -> Iterator[bool]:
    """Whether each calculation that is written out, `2 + 3 * 4 = 14`, comes to what it says, to a hundredth."""
    for calculation, said in SUM.findall(text):
        value = result_of(calculation)
        if math.isfinite(value):
            yield abs(value - value_of(said)) <= CLOSE * max(1.0, abs(value))


def result_of(calculation: str) -> float:
    """Its value, products first; infinite, or no number, where it divides by zero."""
    first, *rest = OPERATOR.split(calculation)
    total, product = 0.0, value_of(first)
    for operator, term in zip(rest[::2], map(value_of, rest[1::2]), strict=True):
        match operator:
            case "+" | "-":
                total, product = total + product, term if operator == "+" else -term
            case "/" | "÷":
                product = product / term if term else math.inf
            case _:
                product *= term
    return total + product


def log_count(things: Iterable[object]) -> float:
    """ln(1 + how many)."""
    return math.log1p(sum(1 for _ in things))
