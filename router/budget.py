"""Holds what a cascade escalates, or spends, at the operator's target by moving the threshold. Knows no tier and no
price: a request is a part and the whole that it is measured against.

The confidences of the last drafts are kept, and the threshold is their quantile at a level. The level follows the
target by the error of each request (quantile tracking, Robbins and Monro, 1951; as online control: Angelopoulos, Candès
and Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023). Whatever comes, in whatever order,
over T requests the share is off the target by at most (1 + 2 SLACK) / (GAIN T), and by what is yet to be worked off of
very dear requests, as long as the level is not at its end; there the target cannot be had, and `is_infeasible` says so.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

WINDOW = 200  # drafts whose confidences are kept
WARMED_UP = 50  # drafts before the configured threshold is left
GAIN = 0.02
SLACK = 0.1  # how far beyond 0 and 1 the level may go, where many confidences are alike
LARGEST_STEP = 2.0  # of one request's error
RECENT = 1_000  # requests
TOLERATED = 0.02
EVERYTHING = math.nextafter(1.0, 2.0)  # a threshold that no confidence reaches


@dataclass(frozen=True, slots=True)
class Learned:
    """All that a budget knows: the `confidences` of the last drafts, the oldest first, the `level` at which the
    threshold is their quantile, how many requests are in the means of their parts and wholes, and what is yet to be
    worked off."""

    confidences: tuple[float, ...]
    level: float
    requests: int
    part: float
    whole: float
    owed: float


class Budget:
    """`target` is the share, in (0, 1), that parts are to be of their wholes in the long run. For a share of requests
    the part is 1 where the request was escalated, else 0, and the whole is 1; for a share of money the part is what the
    request cost, and the whole what the final tier alone would have."""

    def __init__(self, target: float) -> None:
        if not 0 < target < 1:
            raise ValueError(f"a share above 0 and below 1 is wanted, not {target}")
        self.target = target
        self._level = target
        self._arrived = deque[float](maxlen=WINDOW)
        self._ordered: list[float] = []
        self._learned = 0
        self._part = 0.0
        self._whole = 0.0
        self._owed = 0.0

    @property
    def is_warm(self) -> bool:
        """Whether enough confidences are known for a threshold."""
        return len(self._ordered) >= WARMED_UP

    @property
    def threshold(self) -> float:
        """Below which the wanted share of the last drafts was; in [0, just above 1]."""
        place = math.floor(self._level * len(self._ordered))
        if place < 0 or not self._ordered:
            return 0.0
        return self._ordered[place] if place < len(self._ordered) else EVERYTHING

    @property
    def share(self) -> float | None:
        """What the parts of about the last 1,000 requests were of their wholes; None of none."""
        return self._part / self._whole if self._whole > 0 else None

    @property
    def is_infeasible(self) -> bool:
        """Whether the last requests were above the target though all that the threshold can do is done."""
        share = self.share
        return share is not None and self._level <= 0 and share > self.target + TOLERATED

    @property
    def learned(self) -> Learned:
        """All that it knows now."""
        return Learned(tuple(self._arrived), self._level, self._learned, self._part, self._whole, self._owed)

    def go_on(self, learned: Learned) -> None:
        """Go on from what another of the same target knew."""
        self._arrived = deque(learned.confidences, WINDOW)
        self._ordered = sorted(self._arrived)
        self._level = learned.level
        self._learned = learned.requests
        self._part, self._whole, self._owed = learned.part, learned.whole, learned.owed

    def saw(self, confidence: float) -> None:
        """A draft was scored. Raises ValueError where that is no number."""
        if math.isnan(confidence):
            raise ValueError("a confidence is a number")
        if len(self._arrived) == WINDOW:
            del self._ordered[bisect_left(self._ordered, self._arrived[0])]
        self._arrived.append(confidence)
        insort(self._ordered, confidence)

    def learn(self, *, part: float, whole: float) -> None:
        """A request is over. Raises ValueError where one of them is negative or no finite number."""
        if not (0 <= part < math.inf and 0 <= whole < math.inf):
            raise ValueError(f"a part and a whole are finite and at least 0, not {part} and {whole}")
        self._count(part, whole)
        if not self.is_warm or self._whole <= 0:
            return
        self._owed += (part - self.target * whole) / self._whole
        step = max(-LARGEST_STEP, min(LARGEST_STEP, self._owed))
        self._owed -= step
        level = self._level - GAIN * step
        self._level = max(-SLACK, min(1 + SLACK, level))
        if level != self._level:
            self._owed = 0.0

    def _count(self, part: float, whole: float) -> None:
        """Into the means, in which a request weighs less with each that follows."""
        self._learned = min(RECENT, self._learned + 1)
        self._part += (part - self._part) / self._learned
        self._whole += (whole - self._whole) / self._learned
