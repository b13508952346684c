"""Takes out of texts what an operator wants kept nowhere: matches of regular expressions, in linear time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import JsonValue

if TYPE_CHECKING:
    import re2

REDACTED = "[redacted]"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Redaction:
    """The expressions, in RE2's syntax; none takes nothing out. Whatever one of them matches is replaced; matches that
    overlap or touch are one."""

    patterns: "tuple[re2._Regexp, ...]" = ()

    @classmethod
    def of(cls, patterns: Sequence[str]) -> Self:
        """Those. Raises ValueError where one is no expression that RE2 knows."""
        return cls(tuple(map(compiled, patterns)))

    def of_text(self, text: str, most: int | None = None) -> str:
        """The text, or so many of its first characters, without the matches; one that the end cuts is one, too."""
        end = len(text) if most is None else min(most, len(text))
        parts, place = list[str](), 0
        for start, stop in self.spans(text):
            if start >= end:
                break
            parts += [text[place:start], REDACTED]
            place = stop
        return "".join((*parts, text[place:end]))

    def of_tokens(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """As many tokens: the first one of a match says that there was one, the others nothing."""
        spans, said, place = list(self.spans("".join(tokens))), list[str](), 0
        for token in tokens:
            start, place = place, place + len(token)
            said.append(self._of_token(token, start, spans))
        return tuple(said)

    def _of_token(self, token: str, start: int, spans: Sequence[Span]) -> str:
        end, parts, place = start + len(token), list[str](), start
        for first, stop in spans:
            if first < end and stop > start:
                parts += [token[place - start : max(first - start, 0)], REDACTED if first >= start else ""]
                place = min(stop, end)
        return "".join((*parts, token[place - start :]))

    def of_json(self, value: JsonValue) -> JsonValue:
        """The value, each text in it without the matches, each on its own; names, too."""
        match value:
            case str():
                return self.of_text(value)
            case list():
                return [self.of_json(one) for one in value]
            case dict():
                return {self.of_text(name): self.of_json(one) for name, one in value.items()}
            case _:
                return value

    def of_request(self, request: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """A request's fields without the matches."""
        return {name: self.of_json(value) for name, value in request.items()}

    def spans(self, text: str) -> Iterator[Span]:
        """Where the matches are, in order, those that overlap or touch put together; empty ones are none."""
        found = sorted(match.span() for pattern in self.patterns for match in pattern.finditer(text))
        open_span: Span | None = None
        for start, stop in (one for one in found if one[0] < one[1]):
            if open_span is not None and start <= open_span[1]:
                open_span = open_span[0], max(stop, open_span[1])
                continue
            if open_span is not None:
                yield open_span
            open_span = start, stop
        if open_span is not None:
            yield open_span


NOTHING = Redaction()


def compiled(pattern: str) -> "re2._Regexp":
    """The expression. Raises ValueError."""
    import re2  # most do not need it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as wrong:
        said = wrong.args[0].decode() if wrong.args and isinstance(wrong.args[0], bytes) else str(wrong)
        raise ValueError(f"{pattern!r} is no regular expression of RE2 ({said})") from wrong
