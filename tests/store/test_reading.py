"""What the lab reads of a store: requests with texts, and the last word on each."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from fakes.stores import Place, decision, place_of, rows, store_of

from server.store.reading import asked
from server.store.records import Feedback, StoreDown, Texts, new_id

REQUEST = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
TEXTS = Texts(REQUEST, "yes", {})


def test_requests_come_in_the_order_of_time_with_the_last_word_on_each(place: Place) -> None:
    first, second = (decision(time=at, texts=TEXTS, task="sums") for at in (1.0, 2.0))
    said = [
        Feedback(new_id(), first.response_id, 5.0, label="right"),
        Feedback(new_id(), first.id, 7.0, label="wrong", score=0.0, correction="no"),
        Feedback(new_id(), first.request_id, 6.0, label="right"),
    ]
    url = filled(place, second, *said, first)

    one, other = asked(url)

    assert (one.id, one.cascade, one.tier, one.task, one.answer) == (first.id, "auto", "small", "sums", "yes")
    assert one.request == REQUEST
    assert one.feedback == said[1]
    assert (other.id, other.feedback) == (second.id, None)


def test_only_answered_requests_whose_texts_were_kept_are_read(place: Place) -> None:
    url = filled(
        place,
        decision(),
        decision(texts=Texts(None, "too long a request", {})),
        decision(texts=TEXTS, status=503),
        decision(texts=TEXTS, cascade="other"),
        decision(texts=TEXTS, request_id="this"),
    )

    assert len(list(asked(url, cascade="auto"))) == 1
    assert len(list(asked(url))) == 2


def test_only_judged_ones_are_read_where_that_is_wanted(place: Place) -> None:
    judged = decision(texts=TEXTS)
    url = filled(place, judged, decision(texts=TEXTS), Feedback(new_id(), judged.id, 1.0, score=0.5))

    assert [one.id for one in asked(url, judged_only=True)] == [judged.id]


def test_more_than_a_page_is_read_whole_and_each_once(place: Place) -> None:
    kept = [decision(texts=TEXTS, time=float(number // 700)) for number in range(1300)]
    url = filled(place, *kept)

    assert sorted(one.id for one in asked(url)) == sorted(one.id for one in kept)


def test_reading_can_stop_in_the_middle(place: Place) -> None:
    url = filled(place, *(decision(texts=TEXTS) for _ in range(3)))

    reading = asked(url)
    next(reading)
    reading.close()

    assert len(list(asked(url))) == 3


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreDown, match="there is no database"):
        next(asked(f"sqlite:///{tmp_path / 'missing.db'}"))

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "smallfirst.db").close()
    (tmp_path / "smallfirst.db").touch()

    with pytest.raises(StoreDown, match="no such table"):
        next(asked(f"sqlite:///{tmp_path / 'smallfirst.db'}"))

    assert rows(tmp_path, "SELECT name FROM sqlite_master") == []


def filled(place: Path | Place, *records) -> str:
    """The URL of a store that has these."""

    async def fill() -> None:
        store = store_of(place)
        for record in records:
            assert store.keeper.keep(record)
        await store.close()

    asyncio.run(fill())
    return place_of(place).url
