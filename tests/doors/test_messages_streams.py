"""A stream's events add up to the message that the same answer is in one piece, however the server cuts it."""

from itertools import pairwise
from typing import Any

import orjson
import pytest
from anthropic._models import construct_type
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st

from models.answer import Delta, Finish, Usage
from models.errors import BadReply
from models.parsing import delta_of, finish_of
from models.pool import Pool
from models.prompt import Prompt
from router.call import Tier
from router.cascade import Cascade
from router.events import Called
from router.failover import Failover
from router.money import LengthRatio, Price
from router.outcome import Outcome
from router.policy import Policy
from router.scorers import SCORERS
from server.doors.messages_answer import Named
from server.doors.messages_events import MessagesWriter

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words, lambda inner: st.lists(inner, max_size=3)
)
arguments = st.dictionaries(words, values, max_size=3).map(lambda written: orjson.dumps(written).decode())
answers = st.fixed_dictionaries(
    {
        "reasoning": words,
        "content": words,
        "refusal": st.none() | words,
        "calls": st.lists(st.tuples(st.sampled_from(["add", "二"]), arguments, st.none() | words), max_size=3),
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
        "stop_reason": st.none() | st.integers(0, 9) | st.just("END"),
    }
)


@given(answers, st.data())
def test_a_stream_adds_up_to_the_whole_answer(answer: dict[str, Any], data: st.DataObject) -> None:
    assert folded(answer, data) == whole(answer)


CUT = [("length", None), ("length", "END"), ("stop", "END")]


@given(arguments, st.sampled_from(CUT), st.data())
def test_a_call_that_is_cut_is_the_same_both_ways(written: str, ends: tuple[str, str | None], data) -> None:
    ending, stop = ends
    cut = written[: data.draw(st.integers(1, len(written)))]
    answer = {"calls": [("add", cut, "1")], "finish_reason": ending, "stop_reason": stop}

    assert folded(answer, data) == whole(answer)


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
def test_a_call_that_breaks_off_without_a_reason_is_no_call_to_make(reason: str) -> None:
    answer = {"calls": [("add", '{"path": "/tmp/x", "only": "ol', "1")], "finish_reason": reason, "stop_reason": None}

    with pytest.raises(BadReply):
        whole(answer)
    wording, told = writer(), outcome()
    call = {"index": 0, "id": "1", "function": {"name": "add", "arguments": answer["calls"][0][1]}}
    wording.chunk(delta({"delta": {"tool_calls": [call]}, **ending_of(answer)}), told)
    with pytest.raises(BadReply):
        wording.ending(Finish(None), told)


def test_numbers_of_any_size_reach_the_client() -> None:
    message = whole_bytes({"calls": [("add", '{"id": 123456789012345678901234567890}', "1")]})

    assert b'"input":{"id": 123456789012345678901234567890}' in message


def test_a_late_piece_that_says_nothing_breaks_nothing() -> None:
    wording, told = writer(), outcome()
    calls = [{"index": index, "id": str(index), "function": {"name": "add", "arguments": "{}"}} for index in (0, 1)]
    late = {"index": 0, "function": {"arguments": ""}}

    sent = wording.chunk(delta({"delta": {"tool_calls": calls}}), told) + wording.chunk(
        delta({"delta": {"tool_calls": [late]}}), told
    )

    assert sent.count(b"content_block_start\ndata") == 2


def whole(answer: dict[str, Any]) -> dict[str, Any]:
    """The message in one piece."""
    message = orjson.loads(whole_bytes(answer))
    del message["usage"]["smallfirst"]  # the client folds what is the API's own
    return plain(Message.construct(**message))


def whole_bytes(answer: dict[str, Any]) -> bytes:
    """The same, as it is sent."""
    calls = [{"id": call_id, "function": {"name": name, "arguments": text}} for name, text, call_id in answer["calls"]]
    texts = {name: answer.get(name) for name in ("content", "reasoning", "refusal")}
    reply = delta({"message": {**texts, "tool_calls": calls}, **ending_of(answer)})
    return writer().whole(reply, finish_of(reply.reply, streamed=False), outcome())


def folded(answer: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The message that the official client makes of the stream."""
    wording, told = writer(), outcome()
    deltas = [delta({"delta": piece}) for piece in ({"role": "assistant", "content": ""}, *pieces_of(answer, data))]
    last = delta({"delta": {}, **ending_of(answer)})
    sent = b"".join(wording.chunk(each, told) for each in [*deltas, last])
    sent += wording.ending(finish_of(last.reply, streamed=True), told)
    message, buffers = None, dict[int, bytes]()
    for part in sent.decode().strip("\n").split("\n\n"):
        event: Any = construct_type(type_=RawMessageStreamEvent, value=orjson.loads(part.partition("\ndata: ")[2]))
        if event.type != "ping":
            message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    return plain(message)


def plain(message: Any) -> dict[str, Any]:
    """What a message holds, as JSON; less a field that the client itself adds in streams."""
    fields: dict[str, Any] = orjson.loads(orjson.dumps(message.to_dict()))
    assert fields.pop("stop_details", None) is None
    return fields


def pieces_of(answer: dict[str, Any], data: st.DataObject) -> list[dict[str, Any]]:
    """The answer as a server may stream it: cut anywhere, now and then with a piece that says nothing."""
    pieces: list[dict[str, Any]] = [
        {name: part} for name in ("reasoning", "content", "refusal") for part in cut(answer.get(name) or "", data)
    ]
    for index, (name, text, call_id) in enumerate(answer["calls"]):
        first, *rest = cut(text, data) or [""]
        opening = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": first}}
        pieces.append({"tool_calls": [opening]})
        pieces += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in rest]
    silent = data.draw(st.lists(st.integers(0, len(pieces)), max_size=2))
    for place in sorted(silent, reverse=True):
        pieces.insert(place, {})
    return pieces


def cut(text: str, data: st.DataObject) -> list[str]:
    """The text in pieces."""
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
    return [text[start:end] for start, end in pairwise(sorted({0, *places, len(text)}))]


def ending_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Why it stopped."""
    return {"finish_reason": answer.get("finish_reason", "stop"), "stop_reason": answer.get("stop_reason")}


def delta(choice: dict[str, Any]) -> Delta:
    """A reply or a chunk, as it is read."""
    return delta_of(orjson.dumps({"choices": [{"index": 0, **choice}], "usage": USAGE}), 0.0)


def writer() -> MessagesWriter:
    """For one answer."""
    return MessagesWriter(Named("1", "auto", Prompt({}, "1")))


def outcome() -> Outcome:
    """The only tier answered."""

    def nobody(endpoint: object) -> Any:
        raise AssertionError(endpoint)

    tier = Tier("small", Pool((), nobody), Price(1, 2))
    policy = Policy("threshold", SCORERS["mean-logprob"], 0.0, (), "accept")
    told = Outcome(Cascade("small", (tier,), policy, LengthRatio(), Failover(1.0)))
    told.observe(Called("small", Usage(9, 4), 0.1))
    return told
