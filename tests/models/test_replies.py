"""Reading what servers send, in whatever pieces it comes."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.answer import draft_of
from models.errors import BadReply, CapabilityMiss, Misconfigured, Overloaded, Unreachable
from models.parsing import delta_of, error_of
from models.prompt import Prompt
from models.sse import MAX_EVENT_BYTES, EventReader
from server.doors.completion_answer import shown_text

STREAM = (
    b': keep-alive\n\ndata: {"a": "h\xc3\xa9"}\r\n\r\nevent: x\ndata: two\ndata: lines\n\ndata:bare\n\ndata: [DONE]\n\n'
)
EVENTS = [b'{"a": "h\xc3\xa9"}', b"two\nlines", b"bare", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    reader = EventReader()
    places = [0, *sorted(cuts), len(STREAM)]

    events = [event for start, end in pairwise(places) for event in reader.feed(STREAM[start:end])]

    assert events == EVENTS


def test_an_event_without_an_end_is_a_bad_reply() -> None:
    reader = EventReader()

    reader.feed(b"x" * MAX_EVENT_BYTES)

    with pytest.raises(BadReply):
        reader.feed(b"x")


def test_streamed_tool_calls_are_put_together() -> None:
    pieces = [
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"add","arguments":"{\\"a"}}]}}]}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\": 1}"}}]}}]}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"name":"f","arguments":""}}]},'
        b'"finish_reason":"tool_calls"}]}',
    ]

    choice = draft_of([delta_of(piece, 0.0) for piece in pieces]).choices[0]

    assert [(call.name, call.arguments) for call in choice.tool_calls] == [("add", '{"a": 1}'), ("f", "")]
    assert choice.finish_reason == "tool_calls"


NAMES = ["choices", "message", "delta", "logprobs", "content", "index", "x"]
json_bytes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(json_bytes)
def test_any_json_is_a_delta_or_a_model_error(value) -> None:
    with contextlib.suppress(BadReply, Unreachable):
        draft_of([delta_of(json.dumps({"choices": value}).encode(), 0.0)])


texts = st.sampled_from(["yes", "token_id:7", ""])
numbers = st.floats() | st.none() | st.integers() | st.just("0.5")
text_choices = st.fixed_dictionaries(
    {"text": texts | json_bytes},
    optional={
        "logprobs": st.fixed_dictionaries(
            {},
            optional={
                "tokens": st.lists(texts, max_size=2) | json_bytes,
                "token_logprobs": st.lists(numbers, max_size=2) | json_bytes,
                "top_logprobs": st.lists(st.dictionaries(texts, numbers) | json_bytes, max_size=2) | json_bytes,
            },
        )
        | json_bytes,
        "token_ids": json_bytes,
        "prompt_token_ids": json_bytes,
    },
)


@given(st.lists(text_choices, max_size=2) | json_bytes)
def test_any_json_is_a_text_that_can_be_shown_or_a_model_error(choices) -> None:
    prompt = Prompt({"prompt": "is it?", "logprobs": 1}, "id", form="completion")

    with contextlib.suppress(BadReply, Unreachable):
        delta = delta_of(json.dumps({"choices": choices}).encode(), 0.0, "completion")
        draft_of([delta])
        for choice in delta.reply.get("choices") or ():
            shown_text(choice, prompt)


@pytest.mark.parametrize(
    ("reply", "tokens"),
    [
        ({"tokens": ["a", " b"], "token_logprobs": [None, -1.0]}, [(" b", -1.0, ())]),
        ({"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "c": -2.0}]}, [("a", -1, (-1, -2))]),
        ({"tokens": ["token_id:1", "token_id:2"], "token_logprobs": [-1, -2]}, [("a b", -1, ()), ("", -2, ())]),
        ({"tokens": None, "token_logprobs": None}, []),
    ],
)
def test_the_tokens_of_a_text_have_texts_that_add_up_to_it(reply, tokens) -> None:
    (piece,) = delta_of(
        json.dumps({"choices": [{"text": "a b", "logprobs": reply}]}).encode(), 0.0, "completion"
    ).pieces

    assert [tuple(token) for token in piece.tokens] == tokens


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, CapabilityMiss), (413, CapabilityMiss), (422, CapabilityMiss), (401, Misconfigured), (403, Misconfigured),
     (404, Misconfigured), (429, Overloaded), (503, Overloaded), (500, Unreachable), (302, Misconfigured)],
)  # fmt: skip
@pytest.mark.parametrize(
    "body", [b"", b"oops", b'{"error": "Unauthorized"}', b'{"detail": "no"}', b'{"error": {"message": "no"}}', b"[1]"]
)
def test_every_status_and_body_is_an_error_of_ours(status: int, kind: type, body: bytes) -> None:
    assert isinstance(error_of(status, body, "7"), kind)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ({"message": "busy", "code": 503}, Overloaded),
        ({"message": "too long", "code": 400}, CapabilityMiss),
        ({"message": "dead", "code": 500}, Unreachable),
        ({"message": "dead", "code": "server_error"}, Unreachable),
        ("dead", Unreachable),
    ],
)
def test_an_error_in_a_stream_means_what_its_status_says(error, meaning) -> None:
    with pytest.raises(meaning):
        delta_of(json.dumps({"error": error}).encode(), 0.0)
