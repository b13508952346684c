"""Ask the cheapest tier first; go up while its draft is not trusted. Knows nothing of HTTP."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

from models.answer import Delta, Draft, Finish, draft_of
from models.errors import FailureReason, ModelError, Overloaded
from models.prompt import Handover, Prompt
from router.call import Observe, Tier, metered
from router.events import (
    Accepted,
    Capped,
    Drafted,
    Escalated,
    EscalationReason,
    Failed,
    Finished,
    Mode,
    Planned,
    Scored,
)
from router.failover import Failover
from router.money import LengthRatio
from router.policy import GoUp, Keep, Policy, judge

FAILURES = frozenset(get_args(FailureReason)) - {"capability"}
DRAFT_WITHIN_S = 10.0  # mode exact: what a draft may cost in time to the first token
OF_NO_USE = frozenset({"empty", "looping"})


@dataclass(frozen=True, slots=True)
class Cascade:
    """Tiers in the order they are asked, how drafts are judged, and what was learned of the answers' lengths and of
    failures.

    A cascade of one tier only passes on.
    """

    name: str
    tiers: tuple[Tier, ...]
    policy: Policy
    ratio: LengthRatio
    failover: Failover

    @property
    def final(self) -> Tier:
        """The tier whose answer is not judged."""
        return self.tiers[-1]

    def with_threshold(self, threshold: float) -> "Cascade":
        """The same cascade at another threshold."""
        return replace(self, policy=replace(self.policy, threshold=threshold))

    def with_mode(self, mode: Mode) -> "Cascade":
        """The same cascade in another mode."""
        return replace(self, policy=replace(self.policy, mode=mode))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a drafter said, what becomes of it, and what the next tier can make use of."""

    parts: tuple[Delta | Finish, ...]
    verdict: Keep | GoUp
    handover: Handover | None = None


async def answer(cascade: Cascade, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The answer's deltas and finish, from one tier; what happens on the way is observed.

    The first delta comes when the decision is made: no text of a rejected draft is ever among them. Raises the final
    tier's ModelError. Closing the generator, or cancelling the task that reads it, stops every call.
    """
    policy, final = cascade.policy, cascade.final
    observe(Planned(cascade.name, tuple(tier.name for tier in cascade.tiers), policy.mode, policy.threshold))
    cascade.failover.asked()
    handover: Handover | None = None
    if policy.mode == "exact":
        handover = await drafted(cascade, prompt, observe)
    else:
        for tier, following in pairwise(cascade.tiers):
            attempted = await attempt(tier, prompt.handing_over(handover), policy, observe)
            if isinstance(attempted.verdict, Keep):
                observe(Accepted(tier.name, attempted.verdict.reason))
                for part in attempted.parts:
                    yield part
                observe(Finished(tier.name))
                return
            go_up(cascade, tier, following, attempted.verdict.reason, observe)
            handover = attempted.handover
    async with aclosing(finally_answered(final, prompt.handing_over(handover), observe)) as final_parts:
        async for part in final_parts:
            yield part
    observe(Finished(final.name))


async def attempt(tier: Tier, prompt: Prompt, policy: Policy, observe: Observe) -> Attempt:
    """Let a drafter draft, and judge it; a drafter that fails is a reason to go up."""
    try:
        parts = await whole(tier, prompt.scored(policy.scorer.alternatives), observe)
    except ModelError as error:
        return Attempt((), GoUp(error.reason))
    draft = draft_of(part for part in parts if isinstance(part, Delta))
    judgement = judge(draft, prompt, policy)
    if judgement.score is not None and judgement.confidence is not None:
        observe(Scored(tier.name, judgement.score, judgement.confidence))
    reason = judgement.verdict.reason
    return Attempt(parts, judgement.verdict, None if reason in OF_NO_USE else handover_of(draft, parts[-1]))


async def drafted(cascade: Cascade, prompt: Prompt, observe: Observe) -> Handover | None:
    """In mode `exact`: the first tier's draft for the final tier to verify, where that is of use to it; a drafter that
    fails, or takes too long to be of use, is done without."""
    first, final = cascade.tiers[0], cascade.final
    if first is final or prompt.choices > 1 or prompt.predicted is not None or not final.model.takes_handover:
        return None
    try:
        async with asyncio.timeout(DRAFT_WITHIN_S):
            parts = await whole(first, prompt.with_token_ids(), observe)
    except ModelError:
        return None
    except TimeoutError:
        observe(Failed(first.name, "timeout"))
        return None
    return handover_of(draft_of(part for part in parts if isinstance(part, Delta)), parts[-1])


async def whole(tier: Tier, prompt: Prompt, observe: Observe) -> tuple[Delta | Finish, ...]:
    """All that a drafter says. Raises a ModelError."""
    try:
        async with aclosing(metered(tier, prompt, observe)) as answered:
            parts = tuple([part async for part in answered])
    except ModelError as error:
        observe(Failed(tier.name, error.reason))
        raise
    observe(
        Drafted(tier.name, sum(len(piece.tokens) for part in parts if isinstance(part, Delta) for piece in part.pieces))
    )
    return parts


def handover_of(draft: Draft, end: Delta | Finish) -> Handover | None:
    """A draft as the next tier's engine may verify it; several choices cannot be followed at once."""
    if len(draft.choices) != 1:
        return None
    choice = draft.choices[0]
    return Handover(choice.text, choice.token_ids, end.tokenizer if isinstance(end, Finish) else None)


def go_up(cascade: Cascade, tier: Tier, following: Tier, reason: EscalationReason, observe: Observe) -> None:
    """Escalate. Raises Overloaded where the tier failed and too many requests have gone up for that already."""
    if reason in FAILURES and not cascade.failover.may_go_up():
        observe(Capped(tier.name))
        raise Overloaded(f"tier {tier.name!r} fails, and the share of requests that may go up for that is used up")
    observe(Escalated(tier.name, following.name, reason))


async def finally_answered(tier: Tier, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The final tier's deltas as they come, and its finish."""
    try:
        async with aclosing(metered(tier, prompt, observe)) as answered:
            async for part in answered:
                yield part
    except ModelError as error:
        observe(Failed(tier.name, error.reason))
        raise
