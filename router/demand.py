"""How much each tier will be asked to write, from what has arrived at the cascades: before it gets to the tier. Knows
nothing of servers."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.events import Accepted, Called, Capped, Escalated, Event, Planned

ARRIVALS_S = 30.0
REMEMBERED = 1000
TOKENS_BEFORE_ANY = 256.0
QUEUE_WITHIN_S = 30.0
FORETELLING = frozenset((Planned, Called, Accepted, Capped, Escalated))  # the rest is most of what happens


@dataclass(frozen=True, slots=True)
class Flow:
    """What one cascade sends to one tier: `arrivals` requests a second come to the cascade (≥ 0), the share `reach` of
    them gets to the tier (0 to 1), which writes `tokens` for each (≥ 0)."""

    arrivals: float
    reach: float
    tokens: float

    @property
    def requests(self) -> float:
        """Requests a second."""
        return self.arrivals * self.reach


def demand(flows: Sequence[Flow], waiting: float) -> float:
    """Tokens a second that a tier should be able to write: to keep up with what arrives, and to be done with `waiting`
    requests (≥ 0) within `QUEUE_WITHIN_S`.

        demand = sum of (arrivals × reach × tokens) over the cascades + waiting × tokens of a mean request / 30 s

    Divided by what one server writes in a second it is a number of servers. It is linear in arrivals and in waiting
    requests, so the demands that several gateways see of one tier add up, as long as each of them counts its own.
    """
    written = sum(flow.requests * flow.tokens for flow in flows)
    return written + waiting * mean_tokens(flows) / QUEUE_WITHIN_S


def mean_tokens(flows: Sequence[Flow]) -> float:
    """What a mean request has a tier write. Arrivals that have nearly faded are so few that they can neither be added
    up nor multiplied without losing all digits: so each counts by its part of the most."""
    most = max((flow.requests for flow in flows), default=0.0)
    if most == 0:
        return max((flow.tokens for flow in flows), default=TOKENS_BEFORE_ANY)
    parts = [flow.requests / most for flow in flows]
    return sum(part * flow.tokens for part, flow in zip(parts, flows, strict=True)) / sum(parts)


class Mean:
    """The mean of about the last 1,000 values; before the first one it is `prior`, which then counts as one of them."""

    def __init__(self, prior: float) -> None:
        self.value = prior
        self._weight = 1.0

    def learn(self, value: float) -> None:
        """One more."""
        self._weight = min(self._weight + 1, REMEMBERED)
        self.value += (value - self.value) / self._weight


class Rate:
    """How many come a second: each counts less and less, by a factor of e in `ARRIVALS_S`. What one gateway takes over
    from another adds up to the same at every moment."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._at_s = 0.0

    def count(self, now_s: float) -> None:
        """One has come."""
        self._sum, self._at_s = self._faded(now_s) + 1, now_s

    def at(self, now_s: float) -> float:
        """1/s."""
        return self._faded(now_s) / ARRIVALS_S

    def _faded(self, now_s: float) -> float:
        return self._sum * math.exp(-max(0.0, now_s - self._at_s) / ARRIVALS_S)


class Course:
    """How requests of one cascade go through its tiers."""

    def __init__(self, tiers: tuple[str, ...]) -> None:
        self.tiers = tiers
        self.arrivals = Rate()
        self.exact = Mean(0.0)
        self.tokens = {tier: Mean(TOKENS_BEFORE_ANY) for tier in tiers}
        self._steps = {
            (tier, to): Mean(float(place == 0))
            for index, tier in enumerate(tiers)
            for place, to in enumerate(tiers[index + 1 :])
        }

    def decided(self, tier: str, to: str | None) -> None:
        """A draft of the tier was judged: it is the answer, or went up."""
        for (one, other), step in self._steps.items():
            if one == tier:
                step.learn(float(other == to))

    def reach(self, tier: str) -> float:
        """The share of arrivals that gets to the tier. In mode `exact` that is the final tier, and the first one, which
        may be asked for a draft."""
        if tier == self.tiers[0]:
            return 1.0
        exact = self.exact.value
        return (1 - exact) * min(1.0, self._climbing(tier)) + (exact if tier == self.tiers[-1] else 0.0)

    def _climbing(self, tier: str) -> float:
        """As `reach`, of those whose drafts are judged."""
        if tier == self.tiers[0]:
            return 1.0
        before = self.tiers[: self.tiers.index(tier)]
        return sum(self._climbing(one) * self._steps[one, tier].value for one in before)


class Forecast:
    """What arrives at each cascade now, and how far such requests went of late. Before a cascade's first draft is
    judged, all of them are taken to go all the way up."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._courses: dict[str, Course] = {}

    def observe(self, event: Event, cascade: str) -> None:
        """Learn from what happened to one of the cascade's requests."""
        if type(event) not in FORETELLING:
            return
        if isinstance(event, Planned):
            self._planned(event)
        elif cascade in self._courses:
            self._happened(event, self._courses[cascade])

    def flows(self, tier: str) -> list[Flow]:
        """What each cascade sends to the tier."""
        now_s = self._now_s()
        return [
            Flow(course.arrivals.at(now_s), course.reach(tier), course.tokens[tier].value)
            for course in self._courses.values()
            if tier in course.tiers
        ]

    def _planned(self, plan: Planned) -> None:
        course = self._courses.get(plan.cascade)
        if course is None or course.tiers != plan.tiers:
            course = self._courses[plan.cascade] = Course(plan.tiers)
        course.arrivals.count(self._now_s())
        course.exact.learn(float(plan.mode == "exact"))

    def _happened(self, event: Event, course: Course) -> None:
        match event:
            case Called(tier=tier, usage=usage, about="answer") if usage.completion_tokens and tier in course.tokens:
                course.tokens[tier].learn(usage.completion_tokens)
            case Accepted(tier=tier) | Capped(tier=tier):
                course.decided(tier, None)
            case Escalated(tier=tier, to=to):
                course.decided(tier, to)
            case _:
                pass
