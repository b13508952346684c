from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier

import pytest

from router.lab.certifying import CannotCertify, Split
from router.lab.splits import BadLedger, claim_split, split_hash

TODAY = date(2026, 1, 31)
LATER = TODAY + timedelta(days=100)


def test_a_split_is_known_by_its_questions_in_any_order() -> None:
    assert split_hash(["a", "b"]) == split_hash(["b", "a"])
    assert len({split_hash(ids) for ids in (["a"], ["a", "b"], ["ab"], ['a","b'], ["a", "b", "c"])}) == 5


@pytest.mark.parametrize("ids", [[], ["a", "a"]])
def test_a_split_has_questions_and_each_of_them_once(ids) -> None:
    with pytest.raises(CannotCertify):
        split_hash(ids)


def test_a_split_that_certifies_something_else_is_used_again(tmp_path) -> None:
    ledger = tmp_path / "splits.json"

    uses = [claim_split(ledger, ["a", "b"], purpose=purpose, on=TODAY).use for purpose in ("one", "two", "three")]

    assert uses == [1, 2, 3]


def test_the_same_split_for_the_same_purpose_is_the_same_use_of_the_same_day(tmp_path) -> None:
    ledger = tmp_path / "splits.json"
    first = claim_split(ledger, ["a", "b"], purpose="one", on=TODAY)
    second = claim_split(ledger, ["a", "b"], purpose="two", on=TODAY)
    before = ledger.read_bytes()

    assert first == claim_split(ledger, ["b", "a"], purpose="one", on=LATER) == Split(split_hash(["a", "b"]), 1, TODAY)
    assert second == claim_split(ledger, ["a", "b"], purpose="two", on=LATER) == Split(split_hash(["a", "b"]), 2, TODAY)
    assert ledger.read_bytes() == before


def test_claims_at_the_same_time_are_one_use_each(tmp_path) -> None:
    ledger, ids, begin = tmp_path / "splits.json", [f"{number}" for number in range(500)], Barrier(8)

    def claimed(number: int) -> int:
        begin.wait(10)
        return claim_split(ledger, ids, purpose=f"{number}", on=TODAY).use

    with ThreadPoolExecutor(8) as threads:
        uses = sorted(threads.map(claimed, range(8)))

    assert uses == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_split_that_shares_a_question_with_an_earlier_one_is_used_again(tmp_path) -> None:
    ledger = tmp_path / "splits.json"
    claim_split(ledger, ["a", "b"], purpose="one", on=TODAY)

    assert claim_split(ledger, ["b", "c"], purpose="one", on=TODAY).use == 2
    assert claim_split(ledger, ["d", "e"], purpose="one", on=TODAY).use == 1
    assert claim_split(ledger, ["a", "e"], purpose="one", on=TODAY).use == 3


def test_a_ledger_keeps_no_ids_and_leaves_nothing_beside_it(tmp_path) -> None:
    ledger = tmp_path / "splits.json"

    claim_split(ledger, ["customer-42"], purpose="one", on=TODAY)

    assert "customer" not in ledger.read_text()
    assert list(tmp_path.iterdir()) == [ledger]


@pytest.mark.parametrize("content", ["", "{}[]", '{"kind": "smallfirst-splits-2"}', '{"claims": [{"use": 1}]}', "[]"])
def test_a_broken_ledger_is_an_error_and_no_fresh_start(tmp_path, content) -> None:
    ledger = tmp_path / "splits.json"
    ledger.write_text(content)

    with pytest.raises(BadLedger, match="no ledger of used splits"):
        claim_split(ledger, ["a"], purpose="one", on=TODAY)

    assert ledger.read_text() == content


def test_a_ledger_that_cannot_be_written_certifies_nothing(tmp_path) -> None:
    with pytest.raises(BadLedger, match="cannot write"):
        claim_split(tmp_path / "nowhere" / "splits.json", ["a"], purpose="one", on=TODAY)
