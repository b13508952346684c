"""The journal: lines that are on this machine's disk before their requests end, until they are in the store.

A folder of segments, which several processes share without ever sharing a file: each writes its own, and drains what
ended processes left behind. Knows nothing of what the lines say.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import structlog

from server.store.segment import SUFFIX, Chunk, Segment

SEGMENT_BYTES = 4 * 2**20

log = structlog.get_logger()


class JournalFull(Exception):
    """The journal has grown to what the operator lets it have."""


class Journal:
    """This process's part of a journal: what it writes, and what it found. `max_bytes` bounds the whole folder, as far
    as `count_others` has looked."""

    def __init__(self, folder: Path, active: Segment, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._active = active
        self._closed: deque[Segment] = deque()
        self._others_bytes = 0
        self._unreadable: set[Path] = set()

    @classmethod
    def opened(cls, folder: Path, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """The journal in a folder, which is made where it is missing. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = cls(folder, Segment.new(folder), max_bytes=max_bytes, segment_bytes=segment_bytes)
        journal.count_others()
        return journal

    @property
    def size(self) -> int:
        """Bytes in this process's files, drained or not."""
        return self._active.size + sum(segment.size for segment in self._closed)

    @property
    def left(self) -> int:
        """Bytes of them that are not drained."""
        return self._active.left + sum(segment.left for segment in self._closed)

    def append(self, line: bytes, *, share: float = 1.0) -> None:
        """Write a line, with its end; it outlives this process. Raises JournalFull where this `share` of what it may
        hold is taken, or OSError: then nothing of it is there."""
        if self.size + self._others_bytes + len(line) > share * self._max_bytes:
            raise JournalFull
        if self._active.size >= self._segment_bytes:
            with contextlib.suppress(OSError):  # a longer file is no harm
                fresh = Segment.new(self.folder)
                self._closed.append(self._active)
                self._active = fresh
        self._active.append(line)

    def adopt(self) -> int:
        """Take over what ended processes left behind, but for what cannot be opened; how many files. Raises OSError."""
        ours = {segment.path for segment in (self._active, *self._closed)}
        found = [segment for path in self._files() if path not in ours and (segment := self._left_behind(path))]
        for segment in found:
            if segment.left:
                self._closed.appendleft(segment)
            else:
                segment.remove()
        self.count_others()
        return len(found)

    def count_others(self) -> None:
        """Take the measure of what the other processes' files hold now. Raises OSError."""
        ours = {segment.path for segment in (self._active, *self._closed)}
        self._others_bytes = sum(size_of(path) for path in self._files() if path not in ours)

    def next(self) -> Segment | None:
        """The segment to drain from: the oldest of those that hold anything."""
        return next((segment for segment in (*self._closed, self._active) if segment.left), None)

    def drained(self, segment: Segment, chunk: Chunk) -> None:
        """What was read from the segment is in the store: it need not be kept here. Raises OSError."""
        segment.drained = chunk.end
        if segment.left:
            return
        if segment is self._active:
            segment.empty()
            return
        self._closed.remove(segment)
        segment.remove()

    def close(self) -> None:
        """Leave what is not drained to the next process."""
        for segment in self._closed:
            segment.close()
        if self._active.left:
            self._active.close()
        else:
            self._active.remove()

    def _left_behind(self, path: Path) -> Segment | None:
        try:
            return Segment.left_behind(path)
        except OSError as unreadable:
            if path not in self._unreadable:
                log.error("a journal file cannot be read", path=str(path), cause=unreadable.strerror)
            self._unreadable.add(path)
            return None

    def _files(self) -> list[Path]:
        return segments_in(self.folder)


def segments_in(folder: Path) -> list[Path]:
    """The files of all processes that keep their journal there."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def size_of(path: Path) -> int:
    """A file's bytes; none where it is gone, or nobody may look."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def lines_with(words: Sequence[bytes], folder: Path) -> list[bytes]:
    """The lines of a journal, of all processes, in which one of these words stands, each once; of files that can be
    read. Not for the event loop."""
    found: dict[bytes, None] = {}
    for path in segments_in(folder):
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            found |= {line: None for word in words for line in lines_in(data, word)}
    return list(found)


def lines_in(data: bytes, word: bytes) -> Iterator[bytes]:
    """The whole lines in which the word stands."""
    place = data.find(word)
    while place >= 0:
        end = data.find(b"\n", place)
        if end < 0:
            return
        yield data[data.rfind(b"\n", 0, place) + 1 : end]
        place = data.find(word, end)
