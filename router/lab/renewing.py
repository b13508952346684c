"""Certifies a policy anew, from audits of the drafts that it accepted while it served. Pure.

Only accepted drafts were audited: no threshold below the one that served can be certified. Of a higher one, t, an
audit tells whether it would have lost: where it found a loss, and the draft's confidence is at least t. Requests that
a still higher threshold judged, a budget's for example, add no exposure to t; and audits that failed, or that the
grader could not tell of, are losses: both err on the safe side.

Each threshold is a hypothesis, "the expected loss there is at least epsilon", against which `router.lab.betting`
gathers evidence. As the threshold falls, losses are only added and exposure is only taken away, so the evidence falls.
Therefore an error at any threshold, at any time, is one at the strictest threshold whose loss is epsilon or more, and
its chance is at most delta: the fixed sequence of Learn then Test, strictest first, through all thresholds that there
are. No grid has to be fixed before. That there is one such threshold supposes that requests stay alike; for the
threshold that served alone, what is shown is the mean over all requests that were seen, whether they do or not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from router.certificate import Certificate, Renewal
from router.lab.betting import exposure_needed, log_e_value
from router.lab.certifying import Integers, Wanted, at_least, delta_of_round, grid_of
from router.verdict import Band

Floats = NDArray[np.float64]

PRINTED = 1e6  # thresholds are told to six digits, and asked for so
SURE = 1.0  # counts for a draft without a confidence: whatever accepts it does so at any threshold


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit of a draft that the certificate accepted, with the requests before it: its place in the store, its time
    (Unix seconds), the `exposure` that is sure, below 0 where audits came to nothing, the highest `threshold` that one
    of these requests was judged by, the draft's confidence, and whether it counts as a loss."""

    id: str
    place: int
    time_s: float
    exposure: float
    threshold: float
    confidence: float | None
    lost: bool


@dataclass(frozen=True, slots=True)
class Line:
    """What is renewed: its certificate, the artefact's fingerprint, the verdict's band, where there is one, and the
    cluster that it is for, where there are several."""

    certificate: Certificate
    artefact: str
    verdict: Band | None = None
    cluster: str | None = None

    @property
    def round(self) -> int:
        """The number of the renewal."""
        return self.certificate.round + 1

    @property
    def shared(self) -> float:
        """The delta that is shared out among all rounds."""
        renewal = self.certificate.renewal
        return self.certificate.delta if renewal is None else renewal.delta

    @property
    def delta(self) -> float:
        """What this round has of it."""
        return delta_of_round(self.shared, self.round)

    @property
    def after(self) -> int:
        """Audits up to this place were used before."""
        return 0 if self.certificate.renewal is None else self.certificate.renewal.until


@dataclass(frozen=True, slots=True)
class Seen:
    """What the audits say at each threshold, strictest first, the last being the one that served: `thresholds` and
    `exposure`, float[m]; `accepted` and `losses`, int[m], of audits."""

    thresholds: Floats
    exposure: Floats
    accepted: Integers
    losses: Integers


@dataclass(frozen=True, slots=True)
class NotYet:
    """No threshold is certified. What is known of the strictest one that accepts anything, which is promised soonest;
    `audits_needed`: about how many more, at the same rate of losses; None: no number of them."""

    epsilon: float
    delta: float
    threshold: float
    exposure: float
    accepted: int
    losses: int
    audits_needed: int | None

    @property
    def message(self) -> str:
        """Why, and what would help, in a sentence."""
        wanted = f"disagreement <= {self.epsilon:g} is not shown yet at delta {self.delta:.3g}"
        seen = (
            f"at threshold {self.threshold:.6g}, the strictest that accepts anything, {self.losses} of {self.accepted}"
            f" audits count as losses, in an exposure of {self.exposure:.1f}"
        )
        more = "more audits do not help at this rate of losses: record questions, and tune"
        if self.audits_needed is not None:
            more = f"about {self.audits_needed} more audits would do at this rate of losses"
        return f"{wanted}: {seen}; {more}"


def renew(audits: Sequence[Audited], line: Line, wanted: Wanted, *, now: datetime) -> Certificate | NotYet:
    """The laxest threshold, from the one that served on, whose loss is shown to be below `wanted.epsilon` but for a
    chance of `wanted.delta` (the line's) by these audits of the artefact, in their order. Valid whenever it is called
    and however often, with all audits that there are by then; epsilon must not have been chosen by them."""
    seen = seen_at(audits, line)
    shown = log_e_value(seen.losses, seen.exposure, wanted.epsilon) >= -math.log(wanted.delta)
    last = (len(shown) if shown.all() else int(np.argmin(shown))) - 1
    if last < 0 or seen.accepted[last] == 0:
        return not_yet(seen, wanted)
    exposure = float(seen.exposure[last])
    renewal = Renewal(
        round=line.round, renewed_from=line.artefact, after=line.after, until=max(one.place for one in audits),
        exposure=exposure, delta=line.shared,
    )  # fmt: skip
    return Certificate(
        loss=wanted.loss, grader=wanted.grader, epsilon=wanted.epsilon, delta=wanted.delta,
        threshold=float(seen.thresholds[last]), questions=max(1, math.floor(exposure)),
        accepted=int(seen.accepted[last]), losses=int(seen.losses[last]), split=hash_of(audits),
        certified_on=day_of(audits, now), max_age_days=wanted.max_age_days, renewal=renewal,
    )  # fmt: skip


def seen_at(audits: Sequence[Audited], line: Line) -> Seen:
    """At the threshold that served, and halfway between the confidences above it."""
    served = line.certificate.threshold
    confidence = np.array([max(served, SURE if one.confidence is None else one.confidence) for one in audits])
    between = np.ceil(grid_of(confidence) * PRINTED) / PRINTED if audits else np.empty(0)
    thresholds = np.append(between[between > served], served)
    least = np.array([least_accepted(float(one), line.verdict) for one in thresholds])
    lost = np.array([one.lost for one in audits], dtype=bool)
    return Seen(
        thresholds, exposure_at(thresholds, audits), at_least(least, confidence), at_least(least, confidence[lost])
    )  # fmt: skip


def exposure_at(thresholds: Floats, audits: Sequence[Audited]) -> Floats:
    """The exposure of requests that no higher threshold judged than each of these, strictest first: float[m], at least
    0. It never rises as the threshold falls, though what came to nothing at a higher one is not counted at a lower."""
    ordered = sorted(audits, key=lambda one: one.threshold)
    added = np.append(0.0, np.cumsum([one.exposure for one in ordered]))
    highest = np.array([one.threshold for one in ordered])
    sure = np.maximum(0.0, added[np.searchsorted(highest, thresholds, side="right")])
    return np.asarray(np.minimum.accumulate(sure), dtype=np.float64)


def least_accepted(threshold: float, verdict: Band | None) -> float:
    """The least confidence that may be accepted at this threshold, whatever the final tier says in a band."""
    return verdict.low if verdict is not None and verdict.holds(threshold) else threshold


def not_yet(seen: Seen, wanted: Wanted) -> NotYet:
    """Why nothing useful was certified."""
    accepting = np.flatnonzero(seen.accepted)
    place = int(accepting[0]) if len(accepting) else len(seen.thresholds) - 1
    return NotYet(
        wanted.epsilon, wanted.delta, float(seen.thresholds[place]), float(seen.exposure[place]),
        int(seen.accepted[place]), int(seen.losses[place]), audits_needed(seen, place, wanted),
    )  # fmt: skip


def audits_needed(seen: Seen, place: int, wanted: Wanted) -> int | None:
    """About how many audits more would show it of the threshold at that place, if exposure and losses come as they did.
    None: no number of them."""
    exposure, losses = float(seen.exposure[place]), int(seen.losses[place])
    if losses and not exposure:
        return None
    needed = exposure_needed(wanted.epsilon, wanted.delta, rate=min(1.0, losses / exposure) if exposure else 0.0)
    if needed is None:
        return None
    per_exposure = min(1.0, int(seen.accepted[-1]) / exposure) if exposure and seen.accepted[-1] else 1.0
    return max(1, math.ceil((needed - exposure) * per_exposure))


def hash_of(audits: Sequence[Audited]) -> str:
    """Which audits they are."""
    return sha256("\n".join(one.id for one in audits).encode()).hexdigest()


def day_of(audits: Sequence[Audited], now: datetime) -> date:
    """When the last was, in UTC; a clock that is ahead is not believed."""
    latest = max(one.time_s for one in audits)
    return now.astimezone(UTC).date() if latest >= now.timestamp() else datetime.fromtimestamp(latest, UTC).date()
