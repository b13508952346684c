"""A request's headers, found by their names."""

import pytest

from server.request import IndexedHeaders

HEADERS = IndexedHeaders(
    [(b"x-one", b"first"), (b"host", b"here"), (b"x-one", b"second"), (b"x-odd", "ü".encode("latin-1"))]
)


def test_the_first_of_several_counts() -> None:
    assert HEADERS["x-one"] == HEADERS.get("x-one") == "first"


def test_all_of_several_are_there() -> None:
    assert HEADERS.getlist("X-One") == ["first", "second"]
    assert len(HEADERS.items()) == 4


def test_case_does_not_count() -> None:
    assert HEADERS["X-Odd"] == "ü"
    assert "HOST" in HEADERS


def test_what_is_not_there_is_missing() -> None:
    assert HEADERS.get("x-two", "none") == "none"
    assert HEADERS.getlist("x-two") == []
    assert "x-two" not in HEADERS
    with pytest.raises(KeyError):
        HEADERS["x-two"]
