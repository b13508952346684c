"""A draft before its gate: what is kept of it, and what is let out."""

import tracemalloc
from collections.abc import Iterator

import orjson
import pytest
from fakes.trusting import gate_of

from models.answer import Delta, Finish, text_of
from models.parsing import delta_of
from models.prompt import Prompt
from router.gate import OnDoubt, StreamRules
from router.policy import Keep, Policy
from router.scorers import scorer_of
from router.streaming import Stream

LONG = 1500  # tokens, behind any gate
PROMPT = Prompt({"messages": [{"role": "user", "content": "q"}], "stream": True}, "id")


def stream(on_doubt: OnDoubt, gate_tokens: int) -> Stream:
    gate = gate_of(gate_tokens)
    rules = StreamRules(on_doubt, gate_tokens=gate_tokens, holdback_tokens=2, gate=gate)
    return Stream(gate, Policy("certified", scorer_of("mean-logprob"), 0.5, ("looping",), "escalate", rules), PROMPT)


def written(tokens: int, first: int = 0) -> Iterator[Delta]:
    for number in range(first, first + tokens):
        told = [{"token": f" {number}", "logprob": -0.1, "top_logprobs": []}]
        choice = {"index": 0, "delta": {"content": f" {number}"}, "logprobs": {"content": told}, "token_ids": [number]}
        yield delta_of(orjson.dumps({"id": "c", "choices": [choice]}), 0.0)


def test_a_gate_that_stays_shut_holds_little_memory() -> None:
    shut = stream("continue", LONG + 1)
    tracemalloc.start()
    try:
        for delta in written(LONG):
            assert not shut.take(delta)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert taken < 200 * LONG
    assert shut.tokens == LONG


def test_what_stayed_behind_the_gate_is_all_there_at_the_end() -> None:
    shut = stream("continue", LONG + 1)
    for delta in written(LONG):
        shut.take(delta)

    assert shut.end(Finish(None)).ruling == Keep("sure")
    assert [delta.reply for delta in shut.all_that_is_held()] == [delta.reply for delta in written(LONG)]
    assert shut.rest == [delta.pieces[0] for delta in written(LONG)]


@pytest.mark.parametrize("on_doubt", ["continue", "finish"])
@pytest.mark.parametrize("gate_tokens", [3, 100])
def test_a_gate_lets_out_what_was_behind_it_in_order(on_doubt: OnDoubt, gate_tokens: int) -> None:
    opens = stream(on_doubt, gate_tokens)

    shown = [out for delta in written(gate_tokens + 40) for out in opens.take(delta)]
    shown_tokens = opens.shown_tokens
    rest = [*opens.all_that_is_held()]

    assert [delta.reply for delta in (*shown, *rest)] == [delta.reply for delta in written(gate_tokens + 40)]
    assert shown_tokens == len(shown)
    assert opens.tokens == gate_tokens + 40
    assert text_of(opens.shown) + text_of(opens.rest) == text_of(d.pieces[0] for d in written(gate_tokens + 40))
    assert len(rest) == (2 if on_doubt == "continue" else 0)
