"""Log lines are JSON, whatever is in them."""

import json

from server.logs import as_line


def test_a_line_is_json() -> None:
    assert json.loads(as_line({"event": "answered", "cost": 0.5, "failure": None}, repr)) == {
        "event": "answered", "cost": 0.5, "failure": None,
    }  # fmt: skip


def test_what_json_does_not_know_is_told_in_words() -> None:
    assert json.loads(as_line({"cause": ValueError("torn")}, repr)) == {"cause": "ValueError('torn')"}


def test_half_a_surrogate_pair_and_a_huge_number_cost_no_line() -> None:
    said = {"path": "store-\udcff", "bytes": 2**70}

    assert json.loads(as_line(said, repr)) == said
