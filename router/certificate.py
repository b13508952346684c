"""What was promised of a policy, on which questions, and until when."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Loss = Literal["regret", "disagreement"]
MOST_DAYS = 36_500  # calendars end
Share = Annotated[float, Field(gt=0, lt=1)]


class Renewal(BaseModel):
    """How a certificate was renewed from audits: in which `round` (1 was the one that `smallfirst tune` gave), of the
    artefact of which fingerprint, by those of its audits that have a place in the store's order above `after` and up
    to `until`, over so much `exposure`. `delta` is shared out among all rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: Annotated[int, Field(ge=2)]
    renewed_from: str
    after: Annotated[int, Field(ge=0)]
    until: Annotated[int, Field(ge=1)]
    exposure: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Share


class Certificate(BaseModel):
    """With probability at least 1 - delta over the drawing of the questions, the expected loss of a request drawn like
    them is at most epsilon.

    Of `questions` in the certification split, `accepted` drafts were kept at `threshold`, and `losses` of these were
    wrong where the final tier was right (`regret`) or not what the final tier says (`disagreement`), by `grader`.
    `split` is the SHA-256 of the questions' ids: each split certifies once, at its `use` 1; delta is halved at each
    further one, and `delta` here is what is left of it. Audits cannot see regret: they watch that accepted drafts are
    not oftener unlike what the final tier says, by the grader `audited_by`, than `disagreement`, its upper limit then.

    Of one that was renewed (`renewal`), the questions are audits: `questions` is their exposure, which is how many
    there would have been had every draft been accepted; `accepted` and `losses` are audits, those that failed or that
    the grader could not tell of among the losses; `certified_on` is the day of the last one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Loss
    grader: str
    epsilon: Share
    delta: Share
    threshold: Annotated[float, Field(ge=0, le=1)]
    questions: Annotated[int, Field(ge=1)]
    accepted: Annotated[int, Field(ge=0)]
    losses: Annotated[int, Field(ge=0)]
    split: str
    use: Annotated[int, Field(ge=1)] = 1
    certified_on: date
    max_age_days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 90
    audited_by: str | None = None
    disagreement: Annotated[float, Field(gt=0, le=1)] | None = None
    renewal: Renewal | None = None

    @property
    def round(self) -> int:
        """The how-manieth certificate of its line it is, 1 being the one that `smallfirst tune` gave."""
        return 1 if self.renewal is None else self.renewal.round

    @property
    def acceptance(self) -> float:
        """The share of requests whose draft was accepted when it was given, in (0, 1]; 1 where that is not known."""
        return min(1.0, self.accepted / self.questions) or 1.0

    @property
    def watched(self) -> tuple[str, float] | None:
        """By which grader audits watch it, and what share of requests may disagree, in (0, 1); None where none do, as
        where all may."""
        if self.loss == "disagreement":
            return self.grader, self.epsilon
        if self.audited_by is None or self.disagreement is None or self.disagreement >= 1:
            return None
        return self.audited_by, self.disagreement

    @property
    def expires_on(self) -> date:
        """The first day on which it holds no more where no audits watch it."""
        return self.certified_on + timedelta(days=self.max_age_days)
