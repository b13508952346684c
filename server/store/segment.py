"""One file of the journal. Whoever has it open has it locked, and is the only one to write or drain it."""

import contextlib
import errno
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SUFFIX = ".jsonl"
MODE = 0o600  # texts may be in it
CLOSED = -1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines in the order they were written, where the next ones begin, and how many bytes at the file's end are no
    whole line."""

    lines: tuple[bytes, ...]
    end: int
    torn: int = 0


class Segment:
    """A file that is written at its end and drained from its beginning. `size` is what was written, `drained` how much
    of it is in the store already; `is_own` where this process began it."""

    is_own = True

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.drained = 0
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    @classmethod
    def new(cls, folder: Path) -> Self:
        """An empty one with a name of its own, which nobody sees before it is locked. Raises OSError."""
        path = folder / f"{os.getpid()}-{secrets.token_hex(8)}{SUFFIX}"
        hidden = path.with_suffix(".new")
        descriptor = os.open(hidden, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(path)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise
        return cls(path, descriptor)

    @classmethod
    def left_behind(cls, path: Path) -> Self | None:
        """The file of a process that has ended; None where it has not, or somebody was faster. Raises OSError."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116 - of the name, as of the descriptor
                found = cls(path, descriptor)
                found.is_own = False
                return found
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def left(self) -> int:
        """Bytes that are not drained."""
        return self.size - self.drained

    def append(self, line: bytes) -> None:
        """Write a whole line, or nothing of it. Raises OSError."""
        written = os.write(self._descriptor, line)
        if written < len(line):
            os.ftruncate(self._descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def read(self, most: int) -> Chunk:
        """The next lines that are not drained: `most` bytes of them, or one that is longer. Raises OSError."""
        start, left = self.drained, self.left
        data = os.pread(self._descriptor, min(most, left), start)
        end = data.rfind(b"\n") + 1
        if not end and len(data) < left:
            data = os.pread(self._descriptor, left, start)
            end = data.find(b"\n") + 1
        if not end:
            return Chunk((), start + len(data), torn=len(data))
        return Chunk(tuple(data[:end].split(b"\n")[:-1]), start + end)

    def empty(self) -> None:
        """Let go of what is drained, which must be all. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        self.size = self.drained = 0

    def close(self) -> None:
        """Leave the file to whoever finds it; from now on nothing can be written to it."""
        os.close(self._descriptor)
        self._descriptor = CLOSED

    def remove(self) -> None:
        """The file is drained: it goes."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.close()
