"""What is gathered of a stream says what its pieces say."""

import pytest

from models.answer import Piece, choice_of
from models.gathering import TOGETHER, Gathered
from models.tokens import Token, Tokens
from models.wire import WireMessage

CALLS: WireMessage = {"tool_calls": [{"index": 0, "id": "call-1", "function": {"name": "", "arguments": ""}}]}


def piece_of(number: int, message: WireMessage | None = None) -> Piece:
    tokens = Tokens.of([Token(f" {number}", -0.5 * number, (-1.0,))])
    return Piece(0, {"content": f" {number}"} if message is None else message, tokens, token_ids=(number,))


def gathered(pieces: list[Piece]) -> Gathered:
    made = Gathered()
    for piece in pieces:
        made.add(piece)
    return made


@pytest.mark.parametrize("many", [1, TOGETHER - 1, TOGETHER, 3 * TOGETHER + 5])
def test_the_choice_is_the_same(many: int) -> None:
    pieces = [piece_of(0, {"role": "assistant", "content": ""}), *map(piece_of, range(many))]
    pieces.append(Piece(0, {}, finish_reason="stop"))

    made = gathered(pieces)

    assert choice_of(made.pieces) == choice_of(pieces)
    assert made.count == len(pieces)


@pytest.mark.parametrize("other", [{"reasoning": "hm"}, {"refusal": "no"}, {"content": "", **CALLS}, {}])
def test_what_is_no_text_stays_what_it_is(other: WireMessage) -> None:
    pieces = [*map(piece_of, range(TOGETHER)), piece_of(1, other), *map(piece_of, range(2 * TOGETHER))]

    assert choice_of(gathered(pieces).pieces) == choice_of(pieces)


def test_a_long_answer_is_few_pieces() -> None:
    pieces = [piece_of(number) for number in range(100 * TOGETHER)]

    assert len(gathered(pieces).pieces) == 100
