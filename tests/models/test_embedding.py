"""Reading what a server says of a text's embedding."""

import json
import math

import pytest
from fakes.embedding import reply

from models.answer import Usage
from models.embedding import embedded_in
from models.errors import BadReply


@pytest.mark.parametrize("total", [True, False])
def test_an_embedding_has_length_one_and_is_paid_for(total: bool) -> None:
    found = embedded_in(json.dumps(reply([3, 4.0], total=total)).encode())

    assert found.vector == (0.6, 0.8)
    assert found.usage == Usage(5, 0)


def test_a_server_need_not_count() -> None:
    assert embedded_in(json.dumps({"data": [{"embedding": [1]}]}).encode()).usage is None
    assert embedded_in(json.dumps({"data": [{"embedding": [1]}], "usage": None}).encode()).usage is None


@pytest.mark.parametrize(
    "content",
    [
        "x", [], {}, {"data": []}, {"data": None}, {"data": [{}]}, {"data": [{"embedding": "AAAA"}]},
        {"data": [{"embedding": []}]}, {"data": [{"embedding": [0, 0]}]}, {"data": [{"embedding": ["x"]}]},
        {"data": [{"embedding": [1e308, 1e308]}]}, {"data": [{"embedding": [1]}, {"embedding": [1]}]},
        {"data": [{"embedding": [[1]]}]}, {"data": [{"embedding": [1]}], "usage": 7},
    ],
)  # fmt: skip
def test_what_is_no_embedding_is_a_bad_reply(content: object) -> None:
    with pytest.raises(BadReply, match="no embedding"):
        embedded_in(json.dumps(content).encode())


def test_what_is_no_json_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match="no embedding"):
        embedded_in(b"<html>")
    with pytest.raises(BadReply, match="no embedding"):
        embedded_in(b'{"data": [{"embedding": [NaN]}]}')


def test_more_numbers_than_any_model_has_are_cut() -> None:
    found = embedded_in(json.dumps(reply([1.0] * 20_000)).encode())

    assert len(found.vector) == 16_384
    assert math.fsum(value**2 for value in found.vector) == pytest.approx(1.0)
