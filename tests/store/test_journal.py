"""The journal's files: written whole or not at all, shared by nobody, left to whoever comes next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server.store.journal import Journal, JournalFull, lines_with
from server.store.segment import SUFFIX, Segment

# A process whose files may have 30 bytes: the second line has no room.
FULL_DISK = """
import resource, sys
from pathlib import Path
from server.store.journal import Journal

journal = Journal.opened(Path(sys.argv[1]), max_bytes=1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (30, 30))
journal.append(b"a line of 20 bytes.\\n")
try:
    journal.append(b"another of 20 bytes\\n")
except OSError as full:
    print(type(full).__name__)
journal.append(b"short\\n")
"""


def test_lines_are_read_in_the_order_they_were_written(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=1000)

    for line in (b"one\n", b"two\n", b"three\n"):
        journal.append(line)

    assert drained(journal) == [b"one", b"two", b"three"]
    assert journal.next() is None


def test_what_is_drained_takes_no_room(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=10)

    for _ in range(5):
        journal.append(b"12345678\n")
        drained(journal)

    assert journal.size == 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_a_full_journal_keeps_the_oldest_lines(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=10)
    journal.append(b"1234567\n")

    with pytest.raises(JournalFull):
        journal.append(b"890\n")
    journal.append(b"8\n")

    assert drained(journal) == [b"1234567", b"8"]


def test_the_bound_holds_for_all_who_share_the_folder(tmp_path: Path) -> None:
    first = Journal.opened(tmp_path, max_bytes=10)
    first.append(b"1234567\n")

    second = Journal.opened(tmp_path, max_bytes=10)

    with pytest.raises(JournalFull):
        second.append(b"890\n")


def test_long_journals_are_many_files_and_drained_ones_go(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=1000, segment_bytes=10)
    lines = [b"line %d" % number for number in range(9)]

    for line in lines:
        journal.append(line + b"\n")
    files = len(list(tmp_path.iterdir()))

    assert files > 3
    assert drained(journal) == lines
    assert len(list(tmp_path.iterdir())) == 1


def test_a_line_longer_than_what_is_read_at_a_time_is_read_whole(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=1000)
    journal.append(b"x" * 100 + b"\n")
    journal.append(b"y\n")

    assert drained(journal, most=10) == [b"x" * 100, b"y"]


def test_a_living_process_keeps_its_files(tmp_path: Path) -> None:
    first, second = (Journal.opened(tmp_path, max_bytes=1000) for _ in range(2))
    first.append(b"mine\n")

    assert second.adopt() == 0
    assert second.next() is None
    assert drained(first) == [b"mine"]


def test_what_an_ended_process_left_goes_to_one_of_those_that_live(tmp_path: Path) -> None:
    ended = Journal.opened(tmp_path, max_bytes=1000)
    ended.append(b"left behind\n")
    ended.close()
    first, second = (Journal.opened(tmp_path, max_bytes=1000) for _ in range(2))

    assert (first.adopt(), second.adopt()) == (1, 0)

    assert drained(second) == []
    assert drained(first) == [b"left behind"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_journal_that_is_drained_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=1000)
    journal.append(b"one\n")
    drained(journal)

    journal.close()

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_somebody_else_drained_meanwhile_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / f"1-x{SUFFIX}"
    path.write_bytes(b"one\n")
    first = Segment.left_behind(path)
    assert first is not None
    first.remove()

    assert Segment.left_behind(path) is None


def test_a_cut_last_line_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / f"1-x{SUFFIX}").write_bytes(b'one\ntwo\n{"cut')
    journal = Journal.opened(tmp_path, max_bytes=1000)
    journal.adopt()

    segment = journal.next()
    assert segment is not None
    first = segment.read(100)
    journal.drained(segment, first)
    second = segment.read(100)
    journal.drained(segment, second)

    assert (first.lines, first.torn) == ((b"one", b"two"), 0)
    assert (second.lines, second.torn) == ((), 5)
    assert journal.next() is None


def test_a_line_that_the_disk_has_no_room_for_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    journal = Journal.opened(tmp_path, max_bytes=1000)
    journal.adopt()

    assert (done.stdout, done.stderr) == ("OSError\n", "")
    assert drained(journal) == [b"a line of 20 bytes.", b"short"]


def test_a_closed_journal_takes_no_line(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path, max_bytes=1000)
    journal.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        journal.append(b"late\n")


def test_a_word_is_found_in_everybodys_lines(tmp_path: Path) -> None:
    first, second = (Journal.opened(tmp_path, max_bytes=1000) for _ in range(2))
    first.append(b'{"id":"a"}\n')
    first.append(b'{"id":"b"}\n')
    second.append(b'{"about":"a","or":"a"}\n')

    assert sorted(lines_with([b'"a"', b'"id"'], tmp_path)) == [b'{"about":"a","or":"a"}', b'{"id":"a"}', b'{"id":"b"}']
    assert lines_with([b'"c"'], tmp_path) == []


def test_a_file_that_cannot_be_opened_is_told_once_and_holds_up_nothing(tmp_path: Path) -> None:
    (tmp_path / f"1-x{SUFFIX}").mkdir()
    (tmp_path / f"1-y{SUFFIX}").write_bytes(b'{"id":"a"}\n')
    journal = Journal.opened(tmp_path, max_bytes=10_000)

    with capture_logs() as logs:
        assert [journal.adopt(), journal.adopt()] == [1, 0]

    assert [one["cause"] for one in logs] == ["Is a directory"]
    assert lines_with([b'"a"'], tmp_path) == [b'{"id":"a"}']
    assert drained(journal) == [b'{"id":"a"}']


def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    Journal.opened(folder, max_bytes=1000)

    assert folder.stat().st_mode & 0o077 == 0
    assert [path.stat().st_mode & 0o077 for path in folder.iterdir()] == [0]


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(OSError, match="Not a directory"):
        Journal.opened(tmp_path / "file" / "journal", max_bytes=1000)


def test_names_tell_whose_a_file_is(tmp_path: Path) -> None:
    Journal.opened(tmp_path, max_bytes=1000)

    (path,) = tmp_path.iterdir()
    assert path.name.startswith(f"{os.getpid()}-")


def drained(journal: Journal, most: int = 1000) -> list[bytes]:
    """All lines, taken out of the journal."""
    lines: list[bytes] = []
    while (segment := journal.next()) is not None:
        chunk = segment.read(most)
        journal.drained(segment, chunk)
        lines += chunk.lines
    return lines
