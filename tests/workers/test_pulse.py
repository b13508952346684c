"""Who is taken to hang, by a clock that is set by hand."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from subprocess import Popen

import pytest

from server.settings.schema import Settings
from server.workers.link import Link
from server.workers.pulse import Pulse
from server.workers.timers import Timers
from server.workers.worker import Generation, Worker

TIER = {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://a:1"]}
HUNG_S, START_S = 5, 10
HOUR_S = 3600.0


@dataclass
class Watched:
    """Two workers, of which one may not answer yet, and those that were killed."""

    pid: int
    clock_s: float = 0.0
    killed: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = Settings.model_validate({"tiers": {"small": TIER}, "server": {"hung_s": HUNG_S}})
        self.workers = [
            Worker(Generation(settings), place, self.pid, Link(socket.socket()), ready_s=0.0) for place in range(2)
        ]
        self.timers = Timers(lambda: self.clock_s)
        self.pulse = Pulse(self.timers, self.workers, start_s=START_S, kill=self.killed.append)
        self.pulse.look()

    def turn(self, *heard: Worker, after_s: float = 1.0) -> None:
        """The parent's next turn, in which it hears these."""
        self.clock_s += after_s
        for worker in heard:
            worker.missed = 0
        self.timers.run_due()


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Over a process that may be sent signals."""
    with Popen(["/bin/sleep", "60"]) as process:
        yield Watched(process.pid)
        process.kill()


def test_who_says_nothing_for_so_many_turns_is_killed_once(watched: Watched) -> None:
    first, hung = watched.workers

    watched.turn(first, hung)
    for _ in range(HUNG_S - 1):
        watched.turn(first)
    assert not watched.killed, "it may have spoken just before the first turn"
    for _ in range(2 * HUNG_S):
        watched.turn(first)

    assert watched.killed == [hung]


def test_who_is_slow_to_say_something_is_not(watched: Watched) -> None:
    for turn in range(10 * HUNG_S):
        watched.turn(*(watched.workers if turn % HUNG_S == 0 else ()))

    assert not watched.killed


def test_a_time_in_which_the_machine_stood_still_is_one_turn(watched: Watched) -> None:
    for turn in range(10 * HUNG_S):
        watched.turn(*(watched.workers if turn % 2 else ()), after_s=HOUR_S)

    assert not watched.killed


def test_who_does_not_answer_yet_has_longer(watched: Watched) -> None:
    first, late = watched.workers
    late.ready_s = None
    for _ in range(START_S - 2):
        watched.turn(first)
    assert not watched.killed

    for _ in range(4):
        watched.turn(first)

    assert watched.killed == [late]
