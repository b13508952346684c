"""Whether the monitored loss has risen above what was certified: one sequential test that folds audits as they come.

The loss is per request: an escalated one has none, an accepted one has it where its draft is bad, and only audits see
that. Each request is audited, if it is accepted, with a propensity that was fixed before it was answered. So
Z / propensity, where Z is 1 for an audit that found a loss and else 0, has the loss as its expectation whatever is
accepted (Horvitz and Thompson, 1952), and nothing is assumed of how many drafts are.

Each bet multiplies its stake, request by request, by 1 + s (Z / propensity - epsilon), with s fixed beforehand: while
the expected loss is at most epsilon that is fair or worse, so the sum of all stakes is a test supermartingale, and the
chance that it ever reaches 1 / alpha is at most alpha (Ville, 1939; testing by betting: Shafer, 2021; Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024; watching classifiers so: Podkopaev and
Ramdas, ICLR 2022). With s = (1 - exp(-k epsilon propensity)) / epsilon a request without a loss costs a factor of
exp(-k epsilon propensity), so that all of these add up to one number, their `exposure`: the sum of propensities, or the
number of audits that there would have been had every draft been accepted. A loss found pays back about 1 + k, and grows
the stake fastest where the loss is 1 + k times epsilon.

Some of the stakes wait: the loss may rise later, and a bet made at the beginning has lost much by then. What waits is
put on the bets little by little, by a prior of when (the change-point mixture of Shiryaev and of Roberts; as
e-processes: Shin, Ramdas and Rinaldo, "E-detectors", 2024).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ALPHA = 0.05
EXCESSES = (0.25, 1.5, 6.0)  # k of each bet
PRIOR = (0.1, 0.8, 0.1)
WAITING = 0.2
SOON = 100.0  # in exposure: what waits falls as (1 + exposure / 100) ** -1/2
LARGEST = 1e300

Stake = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Requests in a row, up to one that was audited with this propensity in (0, 1]: `exposure` is the sum of the
    propensities of all of them, and `loss` what the audit found; None where it found nothing out, which counts as no
    loss: that can hide a loss and never feign one. Raises ValueError."""

    exposure: float
    propensity: float
    loss: bool | None

    def __post_init__(self) -> None:
        if not 0 < self.propensity <= 1:
            raise ValueError(f"a propensity is above 0 and at most 1, not {self.propensity}")
        if not self.propensity * (1 - 1e-9) <= self.exposure < math.inf:
            raise ValueError(f"an exposure holds at least the audited request's propensity, not {self.exposure}")


class Alarm(BaseModel):
    """What the test has come to. `stakes` are those of the bets, `peak` the largest sum of them and of what waits,
    ever; the rest counts what was folded. Its JSON is all of its state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: Annotated[float, Field(gt=0, lt=1)]
    alpha: Annotated[float, Field(gt=0, lt=1)] = ALPHA
    stakes: Annotated[tuple[Stake, ...], Field(min_length=len(PRIOR), max_length=len(PRIOR))] = tuple(
        (1 - WAITING) * part for part in PRIOR
    )
    exposure: Amount = 0.0
    peak: Amount = 1.0
    audits: Count = 0
    losses: Count = 0

    @property
    def value(self) -> float:
        """The e-value now: 1 at the beginning, and expected to be no more while the loss is at most epsilon."""
        return math.fsum(self.stakes) + waiting(self.exposure)

    @property
    def evidence(self) -> float:
        """Its natural logarithm: how much speaks for a loss above epsilon."""
        return math.log(self.value)

    @property
    def alarm_at(self) -> float:
        """The evidence at which it sounds."""
        return -math.log(self.alpha)

    @property
    def sounds(self) -> bool:
        """Whether it has ever reached 1 / alpha; later luck takes that back no more."""
        return self.peak >= 1 / self.alpha

    @property
    def warns(self) -> bool:
        """Whether it stands half of the way now, as logarithms go: reason to look more closely. By chance that happens,
        ever, with probability sqrt(alpha) at most."""
        return self.value >= 1 / math.sqrt(self.alpha)

    def after(self, stretch: Stretch) -> "Alarm":
        """With these requests folded too; in the order in which they came."""
        exposure = self.exposure + stretch.exposure
        released = waiting(self.exposure) - waiting(exposure)
        stakes = tuple(
            min(LARGEST, stake * factor(excess, self.epsilon, stretch)) + released * part
            for stake, excess, part in zip(self.stakes, EXCESSES, PRIOR, strict=True)
        )
        return self.model_copy(
            update={
                "stakes": stakes,
                "exposure": exposure,
                "peak": max(self.peak, math.fsum(stakes) + waiting(exposure)),
                "audits": self.audits + (stretch.loss is not None),
                "losses": self.losses + (stretch.loss is True),
            }
        )


def factor(excess: float, epsilon: float, stretch: Stretch) -> float:
    """What a stretch makes of the stake of a bet on a loss of 1 + `excess` times epsilon; at least 0."""
    kept = math.exp(-excess * epsilon * stretch.exposure)
    if stretch.loss is not True:
        return kept
    return kept * (1 + math.expm1(excess * epsilon * stretch.propensity) / (epsilon * stretch.propensity))


def waiting(exposure: float) -> float:
    """The stake that still waits after so much exposure."""
    return WAITING / math.sqrt(1 + exposure / SOON)


def folded(stretches: Iterable[Stretch], epsilon: float, *, alpha: float = ALPHA) -> Alarm:
    """The test rebuilt from all that was audited, in its order. Raises pydantic's ValidationError where epsilon or
    alpha is not in (0, 1)."""
    alarm = Alarm(epsilon=epsilon, alpha=alpha)
    for stretch in stretches:
        alarm = alarm.after(stretch)
    return alarm
