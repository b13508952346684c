"""How much of the drafts that a server verifies it keeps, of late."""

from models.answer import Speculation

FORGETTING = 0.98  # an answer's weight falls to a half over 34 more


class Acceptance:
    """Decaying sums over answers."""

    def __init__(self) -> None:
        self.at_once = 0
        self._proposed = 0.0
        self._accepted = 0.0
        self._steps = 0.0

    def learn(self, speculation: Speculation) -> None:
        """Take in one answer's."""
        self.at_once = speculation.at_once
        self._proposed = FORGETTING * self._proposed + speculation.proposed
        self._accepted = FORGETTING * self._accepted + speculation.accepted
        self._steps = FORGETTING * self._steps + speculation.steps

    @property
    def rate(self) -> float | None:
        """The share of proposed tokens that were accepted, 0 to 1; None before the first."""
        return self._accepted / self._proposed if self._proposed else None

    @property
    def tokens_a_step(self) -> float | None:
        """Tokens that a verifying step writes, at least 1; None before the first."""
        return 1 + self._accepted / self._steps if self._steps else None
