"""A stream that is held until it is whole, in little memory. Knows nothing of why it is held."""

import marshal
import zlib
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from models.answer import Delta, Finish, Piece
from models.tokens import NO_TOKENS, Tokens
from models.wire import WireMessage, WireReply

PACKED_TOGETHER = 8  # while they are at hand: to fetch older ones from memory takes longer than to pack them
PRESSED_TOGETHER = 8  # packs
TOGETHER = PACKED_TOGETHER * PRESSED_TOGETHER
FASTEST = 1

Columns: TypeAlias = tuple[tuple[str, ...], tuple[float, ...], tuple[tuple[float, ...], ...]]
PlainPiece: TypeAlias = tuple[int, WireMessage, Columns, str | None, tuple[int, ...]]
PlainDelta: TypeAlias = tuple[WireReply, list[PlainPiece], float]


class Held:
    """The deltas of a stream in order, and its `finish` when that has come. Behind the `first`, those that follow each
    other are packed, and then pressed: as objects they take 1.5 kB each, and one is much like the other. `tokens` is
    how many all of them have, as far as that is known."""

    def __init__(self) -> None:
        self.first: Delta | None = None
        self.finish: Finish | None = None
        self.tokens = 0
        self._pressed: list[bytes] = []
        self._packed: list[bytes] = []
        self._loose: list[Delta] = []

    def add(self, part: Delta | Finish) -> None:
        """One more, or the end."""
        if isinstance(part, Finish):
            self.finish = part
            return
        self.tokens += part.length
        if self.first is None:
            self.first = part
            return
        self._loose.append(part)
        if len(self._loose) == PACKED_TOGETHER:
            self._packed.append(packed(self._loose))
            self._loose = []
            if len(self._packed) == PRESSED_TOGETHER:
                self._pressed.append(zlib.compress(marshal.dumps(self._packed), FASTEST))
                self._packed = []

    @property
    def deltas(self) -> Iterator[Delta]:
        """Deltas that say the same; of those that were packed, `more` are there."""
        if self.first is not None:
            yield self.first
        for packs in self._packs:
            for pack in packs:
                yield from unpacked(pack)
        yield from self._loose

    @property
    def parts(self) -> Iterator[Delta | Finish]:
        """The deltas, and the finish."""
        yield from self.deltas
        if self.finish is not None:
            yield self.finish

    @property
    def _packs(self) -> Iterator[Sequence[bytes]]:
        for pressed in self._pressed:
            packs: list[bytes] = marshal.loads(zlib.decompress(pressed))  # noqa: S302 - of our own making
            yield packs
        yield self._packed


def packed(deltas: Sequence[Delta]) -> bytes:
    """Deltas that are not the first of their stream, for `unpacked` in this process. Unlike JSON, marshal has every
    number and every depth that a reply can have."""
    return marshal.dumps([plain(delta) for delta in deltas])


def unpacked(pack: bytes) -> Iterator[Delta]:
    """The deltas of `packed`, behind which there is always another, or the end."""
    deltas: list[PlainDelta] = marshal.loads(pack)  # noqa: S302 - of our own making
    for reply, pieces, received_s in deltas:
        yield Delta(reply, tuple([piece_of(piece) for piece in pieces]), received_s, more=True)


def plain(delta: Delta) -> PlainDelta:
    """A delta in what marshal knows."""
    pieces: list[PlainPiece] = []
    for index, message, tokens, finish_reason, token_ids in delta.pieces:
        columns = tokens.texts, tokens.logprobs, tokens.alternatives
        pieces.append((index, message, columns, finish_reason, token_ids))
    return delta.reply, pieces, delta.received_s


def piece_of(piece: PlainPiece) -> Piece:
    """The piece that this was."""
    index, message, columns, finish_reason, token_ids = piece
    return Piece(index, message, Tokens(*columns) if columns[0] else NO_TOKENS, finish_reason, token_ids)
