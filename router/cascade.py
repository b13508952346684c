"""Ask the cheapest tier first; go up while its draft is not trusted. Knows nothing of HTTP."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from models.answer import Delta, Finish, draft_of
from models.errors import ModelError
from models.prompt import Prompt
from router.call import Observe, Tier, metered
from router.events import Accepted, Drafted, Escalated, Failed, Finished, Planned, Scored
from router.money import LengthRatio
from router.policy import GoUp, Keep, Policy, judge


@dataclass(frozen=True, slots=True)
class Cascade:
    """Tiers in the order they are asked, how drafts are judged, and what was learned of the answers' lengths.

    A cascade of one tier only passes on.
    """

    name: str
    tiers: tuple[Tier, ...]
    policy: Policy
    ratio: LengthRatio

    @property
    def final(self) -> Tier:
        """The tier whose answer is not judged."""
        return self.tiers[-1]

    def with_threshold(self, threshold: float) -> "Cascade":
        """The same cascade at another threshold."""
        return replace(self, policy=replace(self.policy, threshold=threshold))


async def answer(cascade: Cascade, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The answer's deltas and finish, from one tier; what happens on the way is observed.

    The first delta comes when the decision is made: no text of a rejected draft is ever among them. Raises the final
    tier's ModelError. Closing the generator, or cancelling the task that reads it, stops every call.
    """
    names = tuple(tier.name for tier in cascade.tiers)
    observe(Planned(cascade.name, names, cascade.policy.mode, cascade.policy.threshold))
    for tier, following in zip(cascade.tiers, cascade.tiers[1:], strict=False):
        parts, verdict = await attempt(tier, prompt, cascade.policy, observe)
        if isinstance(verdict, Keep):
            observe(Accepted(tier.name, verdict.reason))
            for part in parts:
                yield part
            observe(Finished(tier.name))
            return
        observe(Escalated(tier.name, following.name, verdict.reason))
    async with aclosing(finally_answered(cascade.final, prompt, observe)) as final_parts:
        async for part in final_parts:
            yield part
    observe(Finished(cascade.final.name))


async def attempt(
    tier: Tier, prompt: Prompt, policy: Policy, observe: Observe
) -> tuple[list[Delta | Finish], Keep | GoUp]:
    """Let a drafter draft, and judge it; a drafter that fails is a reason to go up."""
    try:
        async with aclosing(metered(tier, prompt.scored(policy.scorer.alternatives), observe)) as answered:
            parts = [part async for part in answered]
    except ModelError as error:
        observe(Failed(tier.name, error.reason))
        return [], GoUp(error.reason)
    draft = draft_of(part for part in parts if isinstance(part, Delta))
    observe(Drafted(tier.name, sum(len(choice.tokens) for choice in draft.choices)))
    judgement = judge(draft, prompt, policy)
    if judgement.score is not None and judgement.confidence is not None:
        observe(Scored(tier.name, judgement.score, judgement.confidence))
    return parts, judgement.verdict


async def finally_answered(tier: Tier, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The final tier's deltas as they come, and its finish."""
    try:
        async with aclosing(metered(tier, prompt, observe)) as answered:
            async for part in answered:
                yield part
    except ModelError as error:
        observe(Failed(tier.name, error.reason))
        raise
