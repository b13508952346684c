"""What is held of a stream says what came."""

import math
import tracemalloc
from collections.abc import Iterable

import orjson
import pytest

from models.answer import Delta, Finish, Piece, Usage, WentOn
from models.holding import TOGETHER, Held
from models.parsing import delta_of
from models.tokens import Token, Tokens


def chunk(number: int, **more: object) -> bytes:
    entry = {"token": f" {number}", "logprob": -0.1 * number, "top_logprobs": [{"token": "x", "logprob": -0.5}]}
    choice = {"index": 0, "delta": {"content": f" {number}"}, "logprobs": {"content": [entry]}, "token_ids": [number]}
    return orjson.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [{**choice, **more}], "odd": [None]})


def same(deltas: Iterable[Delta]) -> list[Delta]:
    """Without what says that they are there."""
    return [delta._replace(more=False) for delta in deltas]


def held(deltas: Iterable[Delta]) -> Held:
    made = Held()
    for delta in deltas:
        made.add(delta)
    return made


@pytest.mark.parametrize("many", [0, 1, 2, 9, 10, TOGETHER, TOGETHER + 1, TOGETHER + 2, 3 * TOGETHER + 15])
def test_the_deltas_are_the_same(many: int) -> None:
    deltas = [delta_of(chunk(number), 0.5 * number) for number in range(many)]

    made = held(deltas)

    assert same(made.deltas) == deltas == same(made.deltas)
    assert [orjson.dumps(delta.reply) for delta in made.deltas] == [orjson.dumps(delta.reply) for delta in deltas]
    assert made.tokens == many


def test_the_end_comes_last() -> None:
    made, finish = held([delta_of(chunk(number), 0.0) for number in range(2 * TOGETHER)]), Finish(Usage(3, 4))

    made.add(finish)

    assert [*made.parts][-1] == finish
    assert len([*made.parts]) == 2 * TOGETHER + 1


def test_the_first_one_says_what_first_ones_say() -> None:
    first = delta_of(chunk(0), 0.0)._replace(tokenizer="of seven", went_on=WentOn("ids", 7))

    made = held([first, *[delta_of(chunk(number), 0.0) for number in range(2 * TOGETHER)]])

    assert next(made.deltas) == first


def test_what_no_json_can_say_is_held_too() -> None:
    deep: object = "deep"
    for _ in range(900):
        deep = [deep]
    tokens = Tokens.of([Token("\ud800", -math.inf, (-0.0, -math.inf))])
    odd = Delta({"choices": [], "metrics": None, "deep": deep}, (Piece(1, {}, tokens, "stop"),), 1e-9)  # type: ignore[typeddict-unknown-key]

    made = held([odd] * (TOGETHER + 1))

    assert same(made.deltas) == [odd] * (TOGETHER + 1)


def test_all_choices_and_all_that_is_no_text_are_held() -> None:
    call = {"tool_calls": [{"index": 0, "id": "call-1", "function": {"name": "f", "arguments": "{"}}]}
    second = orjson.dumps({"choices": [{"index": 1, "delta": call}, {"index": 0, "delta": {"reasoning": "hm"}}]})
    deltas = [delta_of(second, float(number)) for number in range(2 * TOGETHER)]

    assert same(held(deltas).deltas) == deltas


def test_a_long_answer_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        made = held(delta_of(chunk(number), 0.0) for number in range(64 * TOGETHER))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert taken < 200 * made.tokens


def test_what_was_packed_may_be_sent_together() -> None:
    made = held(delta_of(chunk(number), 0.0) for number in range(TOGETHER + 1))

    assert [delta.more for delta in made.deltas] == [False] + [True] * TOGETHER
