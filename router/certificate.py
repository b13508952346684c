"""What was promised of a policy, on which questions, and until when."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Loss = Literal["regret", "disagreement"]
Share = Annotated[float, Field(gt=0, lt=1)]


class Certificate(BaseModel):
    """With probability at least 1 - delta over the drawing of the questions, the expected loss of a request drawn like
    them is at most epsilon.

    Of `questions` in the certification split, `accepted` drafts were kept at `threshold`, and `losses` of these were
    wrong where the final tier was right (`regret`) or not what the final tier says (`disagreement`), by `grader`.
    `split` is the SHA-256 of the questions' ids: each split certifies once, at its `use` 1; delta is halved at each
    further one, and `delta` here is what is left of it.
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
    max_age_days: Annotated[int, Field(ge=1)] = 90

    @property
    def expires_on(self) -> date:
        """The first day on which it holds no more where no audits watch it."""
        return self.certified_on + timedelta(days=self.max_age_days)
