"""A server's stream, whatever pieces it comes in."""

import pytest

from models.answer import Finish, Usage
from models.chunks import Chunks
from models.errors import BadReply

SAID = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ENDS = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
LAST = b"data: [DONE]\n\n"
ALL = SAID + ENDS + USAGE + LAST


def chunks() -> Chunks:
    return Chunks("http://small", "chat")


@pytest.mark.parametrize("size", [1, 7, 100, len(ALL)])
def test_events_come_out_as_they_went_in_whatever_the_pieces(size: int) -> None:
    stream = chunks()

    deltas = [
        delta for start in range(0, len(ALL), size) for delta in stream.fed(ALL[start : start + size], float(start))
    ]

    assert [delta.pieces[0].message for delta in deltas] == [{"content": "a"}, {}]
    assert stream.ended
    assert stream.finish().usage == Usage(3, 1)


def test_what_comes_before_a_broken_event_counts() -> None:
    fed = chunks().fed(SAID + b"data: {nonsense}\n\n", 0.0)

    assert next(fed).pieces[0].message == {"content": "a"}
    with pytest.raises(BadReply):
        next(fed)


def test_a_comment_begins_nothing() -> None:
    stream = chunks()

    assert [*stream.fed(b": still at work\n\n", 0.0)] == []
    assert not stream.begun


def test_nothing_is_read_after_the_end() -> None:
    stream = chunks()

    assert len([*stream.fed(ENDS + LAST + SAID, 0.0)]) == 1
    assert stream.finish() == Finish(None)


def test_an_answer_without_an_end_is_none() -> None:
    stream = chunks()
    assert len([*stream.fed(SAID + LAST, 0.0)]) == 1

    with pytest.raises(BadReply, match="http://small ended a stream in the middle"):
        stream.finish()


def test_what_came_in_one_read_may_be_sent_together() -> None:
    assert [delta.more for delta in chunks().fed(SAID + SAID + ENDS, 0.0)] == [True, True, False]
    assert [delta.more for delta in chunks().fed(SAID + SAID[:20], 0.0)] == [False]
