"""The tokens of an answer in columns: of hundreds that are read at once, none is an object of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress
from typing import NamedTuple


class Token(NamedTuple):
    """A sampled token: its text, its log-probability in nats, and those of the likeliest tokens in its place."""

    text: str
    logprob: float
    alternatives: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens in order. The columns are as long as each other, and hold what the fields of a `Token` do; iterated over,
    they are rows."""

    texts: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    alternatives: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Token]) -> "Tokens":
        """The columns of these rows."""
        columns = tuple(zip(*rows, strict=True))
        return cls(*columns) if columns else NO_TOKENS

    @classmethod
    def joined(cls, parts: Iterable["Tokens"]) -> "Tokens":
        """All of them, one after the other."""
        said = [part for part in parts if part.texts]
        if len(said) <= 1:
            return said[0] if said else NO_TOKENS
        return cls(
            tuple(chain.from_iterable([part.texts for part in said])),
            tuple(chain.from_iterable([part.logprobs for part in said])),
            tuple(chain.from_iterable([part.alternatives for part in said])),
        )

    def __len__(self) -> int:
        """How many there are."""
        return len(self.texts)

    def __iter__(self) -> Iterator[Token]:
        """Row by row."""
        return map(Token, self.texts, self.logprobs, self.alternatives)

    def __getitem__(self, part: slice) -> "Tokens":
        """Some that follow each other."""
        return Tokens(self.texts[part], self.logprobs[part], self.alternatives[part])

    def where(self, kept: Iterable[object]) -> "Tokens":
        """Those for which this is true, one value for each token."""
        chosen = [*map(bool, kept)]
        return Tokens(
            tuple(compress(self.texts, chosen)),
            tuple(compress(self.logprobs, chosen)),
            tuple(compress(self.alternatives, chosen)),
        )

    @property
    def text(self) -> str:
        """Their texts, put together."""
        return "".join(self.texts)


NO_TOKENS = Tokens()
