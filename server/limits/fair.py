"""Whose turn it is among requests that wait: higher priorities first, and within one priority the callers by turns, so
that each gets its share of tokens however many requests it sends. Pure; knows no time.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-Time Fair Queueing", IEEE/ACM Transactions on Networking, 1997),
with a virtual time that grows with all that is served, so that callers who come anew all the time starve nobody. Where
there is no room the longest queue is cut (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990).
"""

from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Place:
    """One waiting request: whose it is, its priority (the higher goes first), and about how many tokens it takes (at
    least 1)."""

    caller: str
    priority: int
    cost: int
    arrived: float = 0.0
    turn: int = 0


@dataclass(slots=True)
class Flow:
    """One caller's waiting requests, oldest first, and the virtual time at which what was served of it ends."""

    places: dict[Place, None] = field(default_factory=dict)
    finish: float = 0.0

    @property
    def head(self) -> Place:
        """The oldest."""
        return next(iter(self.places))

    @property
    def last(self) -> Place:
        """The newest."""
        return next(reversed(self.places))

    @property
    def start(self) -> float:
        """The virtual time at which the oldest begins."""
        return max(self.head.arrived, self.finish)


class Level:
    """All callers' waiting requests of one priority."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self._flows: dict[str, Flow] = {}
        self.size = 0

    def join(self, place: Place) -> None:
        """One more."""
        place.arrived = self._virtual
        self._flows.setdefault(place.caller, Flow()).places[place] = None
        self.size += 1

    def leave(self, place: Place) -> bool:
        """One less, that was not served; whether it was there."""
        flow = self._flows.get(place.caller)
        if flow is None or place not in flow.places:
            return False
        del flow.places[place]
        self.size -= 1
        if not flow.places and flow.finish <= self._virtual:
            del self._flows[place.caller]
        return True

    def serve(self) -> Place:
        """The next one."""
        waiting = [flow for flow in self._flows.values() if flow.places]
        flow = min(waiting, key=lambda flow: (flow.start, flow.head.turn))
        place, start = flow.head, flow.start
        del flow.places[place]
        self.size -= 1
        flow.finish = start + place.cost
        self._virtual = max(self._virtual, start) + place.cost / len(waiting)
        self._prune()
        return place

    def longest(self, newcomer: Place | None) -> Place:
        """The newest request of the caller that has most of them, the newcomer among them; where several have as many,
        of all theirs the newest."""
        counts = {caller: len(flow.places) for caller, flow in self._flows.items() if flow.places}
        newest = {caller: self._flows[caller].last for caller in counts}
        if newcomer is not None:
            counts[newcomer.caller] = counts.get(newcomer.caller, 0) + 1
            newest[newcomer.caller] = newcomer
        most = max(counts.values())
        return max((newest[caller] for caller, count in counts.items() if count == most), key=lambda place: place.turn)

    def _prune(self) -> None:
        """Forget callers who are owed nothing and owe nothing."""
        for caller in [
            caller for caller, flow in self._flows.items() if not flow.places and flow.finish <= self._virtual
        ]:
            del self._flows[caller]


class FairQueue:
    """All waiting requests."""

    def __init__(self) -> None:
        self._levels: dict[int, Level] = {}
        self._turns = 0

    def __len__(self) -> int:
        return sum(level.size for level in self._levels.values())

    def arrive(self, place: Place) -> None:
        """Give a request its number: the newest has the highest."""
        self._turns += 1
        place.turn = self._turns

    def join(self, place: Place) -> None:
        """Let it wait."""
        self._levels.setdefault(place.priority, Level()).join(place)

    def leave(self, place: Place) -> bool:
        """It waits no more, without having been served; whether it did until now."""
        level = self._levels.get(place.priority)
        left = level is not None and level.leave(place)
        self._drop_empty(place.priority)
        return left

    def serve(self) -> Place:
        """The next one, which waits no more. There must be one."""
        highest = max(self._levels)
        place = self._levels[highest].serve()
        self._drop_empty(highest)
        return place

    def spare(self, newcomer: Place) -> Place:
        """Whom to send away where there is no room for the newcomer too: of the lowest priority, the newest request of
        the caller who has most; it may be the newcomer."""
        lowest = min([*self._levels, newcomer.priority])
        if lowest not in self._levels:
            return newcomer
        return self._levels[lowest].longest(newcomer if newcomer.priority == lowest else None)

    def _drop_empty(self, priority: int) -> None:
        level = self._levels.get(priority)
        if level is not None and not level.size:
            del self._levels[priority]
