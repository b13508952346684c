"""What a parent and one of its workers say to each other: words, some with something to say, over a pair of sockets.
Whoever hears that the other end is gone knows that its process has ended."""

import contextlib
import socket
from enum import Enum
from struct import Struct

READ_BYTES = 2**18
HEAD = Struct("!cI")


class Word(Enum):
    """From a worker: it answers; its event loop turns; what it has learned; its metrics; that somebody asks for those
    of all workers. To a worker: leave the door while others take over; leave it as the gateway does; close it now; end
    now; say your metrics; those of all."""

    READY = b"r"
    BEAT = b"b"
    LEARNED = b"l"
    TOLD = b"t"
    ASKED = b"a"
    RETIRE = b"R"
    LEAVE = b"L"
    CLOSE = b"C"
    FORCE = b"F"
    TELL = b"T"
    TOTALS = b"S"


class Gone(Exception):
    """The other end is closed."""


class Link:
    """One end. Nothing waits: what cannot be sent yet is sent by `flush`."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._received = bytearray()
        self._unsent = bytearray()

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    @property
    def is_behind(self) -> bool:
        """Whether something is yet to be sent."""
        return bool(self._unsent)

    def send(self, word: Word, said: bytes = b"") -> None:
        """Say it, now or as soon as can be; to nobody where the other end is gone."""
        self._unsent += HEAD.pack(word.value, len(said)) + said
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        with contextlib.suppress(BlockingIOError):
            try:
                while self._unsent:
                    del self._unsent[: self._end.send(self._unsent)]
            except (BrokenPipeError, ConnectionResetError):
                self._unsent.clear()

    def finish(self, within_s: float) -> None:
        """Send all that is left, and wait for that so long."""
        self._end.settimeout(within_s)
        with contextlib.suppress(OSError):
            self._end.sendall(self._unsent)
        self._unsent.clear()

    def heard(self) -> list[tuple[Word, bytes]]:
        """What was said since. Raises Gone where nothing more will be, and all was heard."""
        is_gone = False
        try:
            while received := self._end.recv(READ_BYTES):
                self._received += received
            is_gone = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            is_gone = True
        words = self._words()
        if is_gone and not words:
            raise Gone
        return words

    def close(self) -> None:
        """Let go of it."""
        self._end.close()

    def _words(self) -> list[tuple[Word, bytes]]:
        words: list[tuple[Word, bytes]] = []
        while len(self._received) >= HEAD.size:
            word, length = HEAD.unpack_from(self._received)
            end = HEAD.size + length
            if len(self._received) < end:
                break
            words.append((Word(word), bytes(self._received[HEAD.size : end])))
            del self._received[:end]
        return words
