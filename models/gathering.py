"""The pieces of a choice that is being written, in little memory. Knows nothing of what they are for."""

from collections.abc import Sequence
from itertools import chain

from models.answer import Piece, text_of
from models.tokens import Tokens

TOGETHER = 32


class Gathered:
    """The pieces of one choice in order. Of `TOGETHER` that follow each other and are text of the answer alone, one is
    made: a stream has a piece for each token, and there may be hundreds of streams. `count` is how many were added."""

    def __init__(self) -> None:
        self._whole: list[Piece] = []
        self._loose: list[Piece] = []
        self.count = 0

    def add(self, piece: Piece) -> None:
        """One more."""
        self.count += 1
        self._loose.append(piece)
        if len(self._loose) == TOGETHER:
            self._whole += [as_one(self._loose)] if all(map(is_text, self._loose)) else self._loose
            self._loose = []

    @property
    def pieces(self) -> list[Piece]:
        """Pieces that say the same."""
        return [*self._whole, *self._loose]


def is_text(piece: Piece) -> bool:
    """Whether it is text of the answer alone."""
    return piece.is_plain and not piece.message.get("tool_calls")


def as_one(pieces: Sequence[Piece]) -> Piece:
    """A piece that says the same as these of one choice (at least one), which are text of the answer alone."""
    return Piece(
        pieces[0].index,
        {"content": text_of(pieces)},
        Tokens.joined([piece.tokens for piece in pieces]),
        next((piece.finish_reason for piece in reversed(pieces) if piece.finish_reason), None),
        tuple(chain.from_iterable([piece.token_ids for piece in pieces])),
    )
