"""What a clock that jumps does to what is kept."""

from dataclasses import dataclass
from pathlib import Path

from fakes.stores import count, decision, store_of
from prometheus_client import CollectorRegistry

from server.store.ageing import BELIEVED_S, Ageing
from server.store.keeper import Keeper
from server.store.tally import Tally

DAY_S = 86400.0
YEAR_S = 365 * DAY_S


@dataclass
class Clocks:
    """One that may be set, and one that may not."""

    now_s: float = 1.7e9
    clock_s: float = 50.0

    def passes(self, seconds: float) -> None:
        """On both."""
        self.now_s += seconds
        self.clock_s += seconds

    def ageing(self) -> Ageing:
        """By these."""
        return Ageing(now_s=lambda: self.now_s, clock_s=lambda: self.clock_s)


def test_time_passes_and_may_be_set_back() -> None:
    clocks = Clocks()
    ageing = clocks.ageing()

    clocks.passes(10 * DAY_S)
    assert ageing.now() == clocks.now_s
    clocks.now_s -= YEAR_S
    assert ageing.now() == clocks.now_s


def test_a_clock_that_is_set_forward_is_believed_after_a_day() -> None:
    clocks = Clocks()
    ageing, began_s = clocks.ageing(), clocks.now_s

    clocks.now_s += YEAR_S
    assert ageing.now() == began_s
    clocks.passes(BELIEVED_S - 1)
    assert ageing.now() == began_s + BELIEVED_S - 1
    clocks.passes(1)
    ageing.now()
    clocks.passes(1)

    assert ageing.now() == clocks.now_s


def test_one_that_is_set_right_again_has_done_nothing() -> None:
    clocks = Clocks()
    ageing = clocks.ageing()
    for _ in range(3):
        clocks.now_s += YEAR_S
        ageing.now()
        clocks.passes(BELIEVED_S / 2)
        clocks.now_s -= YEAR_S
        assert ageing.now() == clocks.now_s


async def test_nothing_is_deleted_because_a_clock_was_set_forward(tmp_path: Path) -> None:
    clocks, store = Clocks(), store_of(tmp_path)
    keeper = Keeper(
        store.journal, store.database, Tally(CollectorRegistry()), keep_days=30.0, ageing=clocks.ageing()
    )  # fmt: skip
    keeper.keep(decision(time=clocks.now_s))
    keeper.keep(decision(time=clocks.now_s - 31 * DAY_S))
    clocks.now_s += YEAR_S

    await keeper.round()

    assert count(tmp_path) == 1
    await keeper.close()
