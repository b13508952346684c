"""A worker as its parent sees it."""

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from server.settings.schema import Settings
from server.workers.link import Link, Word
from server.workers.signals import CAUGHT
from server.workers.totals import Families

FAILED = 1
NOT_STARTED = 3
TELL_WHERE = signal.SIGUSR1  # a worker says where it is, even where its event loop stands still
LEFT_TO_PARENT = (signal.SIGINT, signal.SIGHUP)  # a terminal sends them to the whole group

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Workers that were started with one reading of the configuration."""

    settings: Settings

    @property
    def places(self) -> range:
        """What its workers are numbered by."""
        return range(self.settings.server.workers)


@dataclass(slots=True, eq=False)
class Worker:
    """A process, and how far it is: `ready_s` is when it began to answer, `told` its metrics when it was last asked,
    `missed` how often nothing was heard of it since it last said something."""

    generation: Generation
    place: int
    pid: int
    link: Link
    ready_s: float | None = None
    retires: bool = False
    missed: int = 0
    told: Families = field(default=())

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        return self.ready_s is not None

    @property
    def lived_s(self) -> float:
        """For how long it has."""
        return 0.0 if self.ready_s is None else time.monotonic() - self.ready_s

    def signal(self, number: signal.Signals) -> None:
        """Send it one; it may have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self, how: Word) -> None:
        """Have it end; one that does not answer yet ends at once."""
        if self.is_ready:
            self.link.send(how)
        else:
            self.signal(signal.SIGTERM)

    def ended(self) -> int:
        """Its exit code, or minus the signal that ended it; its end of the link is closed, so it hardly takes time."""
        self.link.close()
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def forked(generation: Generation, place: int, work: Callable[[Link], int], alone: Callable[[], None]) -> Worker:
    """A process that does the work, over its end of a link, and ends with its exit code. `alone` is called in it first,
    to let go of what is its parent's. The parent must have no other thread, and no event loop."""
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # what both have stays one in memory
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)  # none of its own may be taken for its parent's
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return Worker(generation, place, pid, Link(ours))
    code = FAILED
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number in LEFT_TO_PARENT:
            signal.signal(number, signal.SIG_IGN)
        faulthandler.register(TELL_WHERE, file=sys.stderr.fileno())
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        ours.close()
        alone()
        code = work(Link(theirs))
    except SystemExit as exits:
        code = exits.code if isinstance(exits.code, int) else FAILED
    except BaseException:
        log.exception("a worker failed")
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
