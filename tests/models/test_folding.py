"""A stream's chunks add up to the reply that the server would have given whole."""

from typing import Any

import orjson
import pytest

from models.answer import Finish, draft_of
from models.calls import Numbering
from models.folding import whole_of
from models.parsing import delta_of


def chunk(delta: dict[str, Any], **choice: Any) -> Any:
    """One chunk of one choice."""
    whole = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "system_fingerprint": "fp"}
    return delta_of(orjson.dumps({**whole, "choices": [{"index": 0, "delta": delta, **choice}]}), 1.0)


def folded(*chunks: Any) -> Any:
    """The one choice of what they add up to."""
    whole = whole_of(chunks, Finish(None))
    assert whole.reply["object"] == "chat.completion"
    assert draft_of([whole]) == draft_of(chunks)
    (choice,) = whole.reply["choices"]
    return choice


def test_texts_reasoning_and_refusals_are_joined_and_said_once() -> None:
    choice = folded(
        chunk({"role": "assistant", "content": "", "extra": "kept"}),
        chunk({"reasoning": "h", "content": None}),
        chunk({"reasoning": "m"}),
        chunk({"content": "so", "extra": "kept"}),
        chunk({"content": " it is", "annotations": [1]}),
        chunk({"refusal": "no", "annotations": [2]}, finish_reason="stop", stop_reason="x"),
        chunk({}, finish_reason=None, content_filter_results={}),
    )

    assert choice["message"] == {
        "role": "assistant", "content": "so it is", "reasoning": "hm", "refusal": "no", "extra": "kept",
        "annotations": [1, 2],
    }  # fmt: skip
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "x")
    assert "token_ids" not in choice


def test_tool_calls_are_put_together() -> None:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "}"}}
    choice = folded(
        chunk({"tool_calls": [first]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 1, "id": None, "function": {"name": None, "arguments": "{"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}, second]}, finish_reason="tool_calls"),
    )

    assert choice["message"]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert choice["message"]["content"] is None


def test_tool_calls_without_an_index_are_calls_by_themselves() -> None:
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in "fg"]

    assert folded(chunk({"tool_calls": calls}, finish_reason="tool_calls"))["message"]["tool_calls"] == calls


@pytest.mark.parametrize("kind", ["content", "refusal"])
def test_log_probabilities_and_ids_follow_each_other(kind: str) -> None:
    tokens = [{"token": word, "logprob": -0.1, "top_logprobs": []} for word in "ab"]

    choice = folded(
        chunk({"content": "a"}, logprobs={kind: tokens[:1]}, token_ids=[1]),
        chunk({"content": "b"}, logprobs={kind: tokens[1:]}, token_ids=[2], finish_reason="stop"),
    )

    assert choice["logprobs"][kind] == tokens
    assert choice["token_ids"] == [1, 2]


CHUNKS = {
    "all of them are number 0": [[{"index": 0, "id": "a"}], [{"index": 0}], [{"index": 0, "id": "b"}], [{"index": 0}]],
    "none has a number": [[{"id": "a"}], [{}], [{"id": "b"}], [{}]],
    "as they should be": [[{"index": 0, "id": "a"}], [{"index": 0}], [{"index": 1, "id": "b"}], [{"index": 1}]],
    "at once": [[{"index": 0, "id": "a"}, {"index": 0, "id": "b"}], [{"index": 0}]],
}


@pytest.mark.parametrize("case", CHUNKS)
def test_calls_are_told_apart_whatever_their_numbers(case: str) -> None:
    numbering = Numbering()

    found = [[numbering.of(piece, place) for place, piece in enumerate(pieces)] for pieces in CHUNKS[case]]

    assert found in ([[0], [0], [1], [1]], [[0, 1], [1]])
