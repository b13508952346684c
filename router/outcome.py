"""One request's story so far, folded from its events: who answered, why, and what it cost."""

from msgspec import Struct

from models.answer import Speculation, Usage
from router.cascade import Cascade
from router.events import (
    Accepted,
    Asked,
    Began,
    Called,
    Continued,
    Escalated,
    EscalationReason,
    Event,
    Failed,
    Finished,
    Opened,
    Opined,
    Planned,
    Scored,
    Verdict,
)
from router.steering import Ended

JUDGED = ("unsure", "verdict")


class Spent(Struct, frozen=True):
    """A tier's tokens and cost."""

    usage: Usage
    cost: float


class Outcome:
    """Everything that headers, usage and the log say of one request. `spent` is what each tier's calls took together,
    `answered` what its answer alone did, and `cost` that of all calls, rejected drafts and cut-off ones among them."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.tier = cascade.tiers[0].name
        self.escalated = False
        self.reason: str = "only-tier" if len(cascade.tiers) == 1 else "undecided"
        self.confidence: float | None = None
        self.verdict: float | None = None
        self.failure: Failed | None = None
        self.finished = False
        self.opened = False
        self.shown_tokens = 0
        self.speculation: Speculation | None = None
        self._waited_s = 0.0
        self._waiting_s = 0.0
        self.spent: dict[str, Spent] = {}
        self.cost = 0.0
        self.answered: dict[str, Usage] = {}
        self._prices = {tier.name: tier.price for tier in cascade.called}
        self._draft: Usage | None = None
        self.first_confidence: float | None = None

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Called():
                self._called(event)
            case Began(waited_s=waited_s):
                self._waiting_s = waited_s
            case Finished():
                self.finished = True
                self._learn_length()
                self._learn_share()
            case Asked():
                pass
            case Failed(tier=tier, about="answer") if tier == self.tier:
                self.failure = event
            case Opined(waited_s=waited_s):
                self._waited_s += waited_s
            case _:
                self._decided(event)

    def _decided(self, event: Event) -> None:
        match event:
            case Planned(mode="exact", fallback=fallback):
                self.tier, self.reason = self.cascade.final.name, fallback or "exact"
            case Opened(waited_s=waited_s):
                self.opened, self.reason, self._waiting_s = True, "opened", waited_s
            case Scored(tier=tier, confidence=confidence):
                self.confidence = confidence
                if tier == self.cascade.tiers[0].name:
                    self.first_confidence = confidence
            case Verdict(probability=probability):
                self.verdict = probability
            case Accepted(reason=reason):
                self.reason = reason
            case Escalated(to=to, reason=reason):
                self._go_up(to, reason)
            case Continued(tokens=tokens):
                self.shown_tokens = tokens

    def _called(self, call: Called) -> None:
        before = self.spent.get(call.tier, Spent(Usage(0, 0), 0.0))
        self.spent[call.tier] = Spent(before.usage + call.usage, before.cost + self._prices[call.tier].of(call.usage))
        self.cost = sum([spent.cost for spent in self.spent.values()])
        if call.about != "opinion":  # those are waited for together, and `Opined` says how long
            self._waited_s += call.waited_s
        if call.about == "answer":
            self._answered(call)

    def _answered(self, call: Called) -> None:
        self._waiting_s = 0.0
        self.answered[call.tier] = call.usage
        self.speculation = call.speculation if call.tier == self.tier else None
        if call.went_on is not None:
            self.shown_tokens = call.went_on.tokens

    @property
    def waited_s(self) -> float:
        """Seconds spent waiting for models; of a call that is running, those until its first piece, or until its gate
        opened."""
        return self._waited_s + self._waiting_s

    @property
    def cost_final_alone(self) -> float:
        """What the final tier alone would have cost; an estimate where it was not asked."""
        final = self.cascade.final
        if final.name in self.answered:
            return final.price.of(self.alone(self.answered[final.name]))
        draft = self.answered.get(self.tier, Usage(0, 0))
        written = round(draft.completion_tokens * self.cascade.ratio.value)
        return final.price.of(Usage(draft.prompt_tokens, written))

    @property
    def estimates_final(self) -> bool:
        """Whether `cost_final_alone` is an estimate."""
        return self.cascade.final.name not in self.answered

    def alone(self, usage: Usage) -> Usage:
        """The final tier's tokens as if it had written all of an answer that it went on with."""
        shown = self.shown_tokens
        return Usage(max(0, usage.prompt_tokens - shown), usage.completion_tokens + shown, usage.estimated)

    def _go_up(self, to: str, reason: EscalationReason) -> None:
        draft = self.answered.get(self.tier)
        self._draft = draft if reason in JUDGED and draft and not draft.estimated else None
        self.failure, self.speculation = None, None
        self.escalated, self.reason, self.tier = True, reason, to

    def _learn_length(self) -> None:
        final = self.answered.get(self.cascade.final.name)
        if self._draft is not None and final is not None and self.tier == self.cascade.final.name:
            self.cascade.ratio.learn(drafted=self._draft.completion_tokens, written=final.completion_tokens)

    def _learn_share(self) -> None:
        cascade = self.cascade
        if cascade.steering.budget is None:
            return
        ended = Ended(self.escalated, self.cost, self.cost_final_alone, self.first_confidence)
        cascade.steering.learn(ended, cascade.policy)
