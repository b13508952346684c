"""What calls cost, and what the final tier alone would have cost."""

from dataclasses import dataclass

from models.answer import Usage

MILLION = 1_000_000
ENOUGH_AUDITS = 20


@dataclass(frozen=True, slots=True)
class Price:
    """In the operator's currency, per million tokens."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """The cost of a call."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / MILLION


class LengthRatio:
    """How many tokens the final tier writes for each of the draft's: learned from audits, once there are enough, and
    else from escalations.

    Escalated requests are the harder ones, so that is a biased sample: an estimate, and called one wherever it shows.
    """

    def __init__(self) -> None:
        self._drafted = 0
        self._written = 0
        self._audits = 0
        self._audited_drafts = 0
        self._audited_written = 0

    def learn(self, *, drafted: int, written: int) -> None:
        """Take in an escalated request's two lengths, in tokens."""
        if drafted > 0 and written > 0:
            self._drafted += drafted
            self._written += written

    def learn_audited(self, *, drafted: int, written: int) -> None:
        """Take in those of an accepted draft and its audit."""
        if drafted > 0 and written > 0:
            self._audits += 1
            self._audited_drafts += drafted
            self._audited_written += written

    @property
    def value(self) -> float:
        """The ratio; 1 until something is known."""
        if self._audits >= ENOUGH_AUDITS:
            return self._audited_written / self._audited_drafts
        return self._written / self._drafted if self._drafted else 1.0
