"""Lines of the journal that this process wrote need not be read again."""

from fakes.stores import decision

from server.store.lines import MOST_LATELY, Lately, line_of


def test_what_was_written_a_moment_ago_is_not_read_again() -> None:
    lately, written = Lately(), decision(cost=0.25)

    lately.wrote(line_of(written), written)

    assert lately.record_of(line_of(written)[:-1]) is written


def test_the_second_time_the_line_itself_is_read() -> None:
    lately, written = Lately(), decision(cost=0.25)
    lately.wrote(line_of(written), written)
    lately.record_of(line_of(written)[:-1])

    again = lately.record_of(line_of(written)[:-1])

    assert again == written
    assert again is not written


def test_a_line_that_holds_nothing_is_no_record() -> None:
    assert Lately().record_of(b'{"decision":') is None


def test_memory_is_bounded_while_lines_wait_for_a_database() -> None:
    lately, records = Lately(), [decision() for _ in range(MOST_LATELY + 1)]
    for record in records:
        lately.wrote(line_of(record), record)

    known = [lately.record_of(line_of(record)[:-1]) is record for record in records]

    assert known == [True] * MOST_LATELY + [False]
