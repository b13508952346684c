"""What moves a cascade's threshold: its budget, and the price of the final tier while that has no room."""

from dataclasses import dataclass, replace

from msgspec import Struct

from router.budget import Budget
from router.policy import Policy


class Ended(Struct, frozen=True):
    """A finished request: whether the first tier's draft was not the answer, what it cost, what the final tier alone
    would have cost, and the first tier's confidence in [0, 1] where its draft was scored."""

    escalated: bool
    cost: float
    cost_final_alone: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Steering:
    """`escalated` and `spend` hold these shares at their targets, where one is set. `load_price`, at least 1, is what
    the final tier's answers count as, in its prices, while it has no room at all."""

    escalated: Budget | None = None
    spend: Budget | None = None
    load_price: float = 1.0

    @property
    def budget(self) -> Budget | None:
        """The one that is set."""
        return self.escalated or self.spend

    def steered(self, policy: Policy, pressure: float) -> Policy:
        """The policy at the threshold that it has just now, in mode `threshold`; a request's own stays as it is.
        `pressure`: how far the final tier is out of room, 0 to 1."""
        if policy.mode == "certified":
            return self.raised(policy)
        if policy.mode == "exact" or policy.threshold_by == "request":
            return policy
        return self._priced(self._budgeted(policy), pressure)

    def raised(self, policy: Policy) -> Policy:
        """The policy under a certificate: the budget may only escalate more, and yields where it would less."""
        if self.budget is None or not self.budget.is_warm or self.budget.threshold <= policy.threshold:
            return policy
        return self._budgeted(policy)

    def learn(self, ended: Ended, policy: Policy) -> None:
        """Count a request that was finished under this policy. One whose threshold the client or the load set is not
        the budget's."""
        if self.budget is None or policy.mode == "exact" or policy.threshold_by in ("request", "load"):
            return
        if ended.confidence is not None:
            self.budget.saw(ended.confidence)
        if self.escalated is not None:
            self.escalated.learn(part=float(ended.escalated), whole=1.0)
        if self.spend is not None:
            self.spend.learn(part=ended.cost, whole=ended.cost_final_alone)

    def _budgeted(self, policy: Policy) -> Policy:
        if self.budget is None or not self.budget.is_warm:
            return policy
        return replace(policy, threshold=self.budget.threshold, threshold_by="budget")

    def _priced(self, policy: Policy, pressure: float) -> Policy:
        if pressure <= 0 or self.load_price <= 1:
            return policy
        price = 1 + (self.load_price - 1) * min(1.0, pressure)
        return replace(policy, threshold=at_price(policy.threshold, price), threshold_by="load")


def at_price(threshold: float, price: float) -> float:
    """The threshold, in [0, 1], when the final tier costs `price` times as much, for a price of at least 1.

    Escalating pays where the draft's chance to be bad, 1 - confidence, is worth more than it costs; so the least chance
    for which it pays, 1 - threshold, grows as the price does.
    """
    return min(1.0, max(0.0, 1 - (1 - threshold) * price))


UNSTEERED = Steering()
