"""Ask the cheapest tier first; go up while its draft is not trusted. Knows nothing of HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import get_args

from models.answer import Delta, Finish, draft_of, reasoning_of
from models.errors import BadReply, CapabilityMiss, FailureReason, ModelError, Overloaded
from models.prompt import Handover, Prompt
from models.resuming import is_opening
from router.call import Observe, Tier, metered
from router.drafting import Drafting, handover_of, whole
from router.events import (
    Capped,
    Continued,
    Drafted,
    Escalated,
    Failed,
    Fallback,
    Finished,
    Foreseen,
    Mode,
    Planned,
)
from router.failover import Failover
from router.foreseeing import Embedder, foreseen
from router.gate import StreamRules
from router.money import LengthRatio
from router.opinions import Opinion, Panel
from router.policy import GoUp, Keep, Policy
from router.scorers import AskingName
from router.steering import UNSTEERED, Steering
from router.streaming import gate_for, may_open
from router.trusted import Trusted
from router.watch import Watch

FAILURES = frozenset(get_args(FailureReason)) - {"capability"}
DRAFT_WITHIN_S = 10.0  # mode exact: what a draft may cost in time to the first token


@dataclass(frozen=True, slots=True)
class Cascade:
    """Tiers in the order they are asked, how drafts are judged, what moves the threshold, and what was learned of the
    answers' lengths and of failures. `mode` and `policy` are for a request that says nothing of its own; `trusted`
    makes others of an artefact, for the kind of request that `task` names. `opinions` are the questions about a draft
    that its scorers may ask, `embedder` embeds prompts for its skip-router.

    A cascade of one tier only passes on.
    """

    name: str
    tiers: tuple[Tier, ...]
    policy: Policy
    ratio: LengthRatio
    failover: Failover
    mode: Mode = "threshold"
    trusted: Trusted | None = None
    task: str | None = None
    steering: Steering = UNSTEERED
    opinions: Mapping[AskingName, Opinion] = field(default_factory=dict)
    embedder: Embedder | None = None

    @property
    def final(self) -> Tier:
        """The tier whose answer is not judged."""
        return self.tiers[-1]

    @property
    def panel(self) -> Panel:
        """Who is asked about drafts."""
        return Panel(self.final, self.opinions)

    @property
    def called(self) -> tuple[Tier, ...]:
        """Every tier that a request may call: the cascade's own, and those that are asked about drafts or prompts."""
        others = [opinion.tier for opinion in self.opinions.values() if opinion.tier is not None]
        others += [] if self.embedder is None else [self.embedder.tier]
        return tuple({tier.name: tier for tier in (*self.tiers, *others)}.values())

    def with_threshold(self, threshold: float) -> "Cascade":
        """The same cascade at a request's own threshold."""
        return replace(self, policy=replace(self.policy, threshold=threshold, threshold_by="request"))

    def with_stream(self, stream: StreamRules) -> "Cascade":
        """The same cascade, whose streams open by other rules."""
        return replace(self, policy=replace(self.policy, stream=stream))

    def steered(self, pressure: float) -> "Cascade":
        """The same cascade at the threshold that its budget and the final tier's load (0 to 1) make of its own, where
        the request set none; under a certificate the budget may only raise it."""
        return self._judging_by(self.steering.steered(self.policy, pressure))

    def standing(self, watches: Mapping[str | None, Watch], pressure: float) -> "Cascade":
        """The same cascade as it stands just now: without its certificate where that does not hold, else steered. Of
        the watches, by cluster, the one over the certificate that judges here counts."""
        if self.policy.mode != "certified":
            return self.steered(pressure)
        watch = watches.get(self.policy.cluster)
        fallback: Fallback | None = "uncertified" if watch is None else watch.standing.fallback
        return self.steered(pressure) if fallback is None else self.fallen_back(fallback)

    def fallen_back(self, why: Fallback) -> "Cascade":
        """The same cascade where its certificate does not hold: the final tier answers."""
        return replace(self, policy=replace(self.policy, mode="exact", fallback=why))

    def reads_words(self, mode: Mode) -> bool:
        """Whether in this mode the words of a request have a say in how it is judged."""
        return mode != "exact" and self.trusted is not None and self.trusted.reads_words

    def under(self, mode: Mode, task: str | None, *, words: str = "") -> "Cascade":
        """The same cascade in this mode, for a request of which this task is named, or nothing but its words; without
        an artefact nothing is certified."""
        if self.trusted is not None:
            return self._judging_by(self.trusted.policy(mode, self.trusted.kind(task or self.task, words)))
        if len(self.tiers) == 1 and mode == "certified":
            return self.under("exact", task)
        if mode == "certified":
            return self.fallen_back("uncertified")
        return self if mode == self.policy.mode else replace(self, policy=replace(self.policy, mode=mode))

    def _judging_by(self, policy: Policy) -> "Cascade":
        return self if policy is self.policy else replace(self, policy=policy)


async def answer(cascade: Cascade, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The answer's deltas and finish, of one tier, or begun by a drafter and gone on with by the final tier; what
    happens on the way is observed.

    No text of a rejected draft is ever among them, but for the beginning that its gate let out and the answer goes on
    from. Raises the final tier's ModelError. Closing the generator, or cancelling the task that reads it, stops every
    call.
    """
    policy, final = cascade.policy, cascade.final
    names = tuple(tier.name for tier in cascade.tiers)
    observe(Planned(cascade.name, names, policy.mode, policy.threshold, policy.fallback))
    cascade.failover.asked()
    asking = prompt.handing_over(None)
    if policy.mode == "exact":
        asking = prompt.handing_over(await drafted(cascade, prompt, observe))
    else:
        for tier, following in pairwise(cascade.tiers):
            if tier.lacks(prompt) is not None:
                go_up(cascade, tier, following, GoUp("capability"), observe)
                continue
            if tier is cascade.tiers[0] and await skips(cascade, prompt, observe):
                go_up(cascade, tier, following, GoUp("skipped"), observe)
                continue
            drafting = Drafting(tier, asking, policy, cascade.panel, observe)
            async with aclosing(parts_of(cascade, drafting, tier, prompt)) as parts:
                async for part in parts:
                    yield part
            if isinstance(drafting.ruling, Keep):
                observe(Finished(tier.name))
                return
            if drafting.prefix is not None:
                go_up(cascade, tier, final, drafting.ruling, observe)
                observe(Continued(final.name, drafting.prefix.tokens))
                asking = prompt.after(drafting.prefix, drafting.handover)
                break
            go_up(cascade, tier, following, drafting.ruling, observe)
            asking = prompt.handing_over(drafting.handover)
    try:
        async with aclosing(finally_answered(final, asking, observe)) as final_parts:
            async for part in final_parts:
                yield part
    except ModelError as error:
        observe(Failed(final.name, error.reason))
        raise
    observe(Finished(final.name))


async def skips(cascade: Cascade, prompt: Prompt, observe: Observe) -> bool:
    """Whether the first tier is not worth asking, as far as the prompt tells."""
    skip = cascade.policy.skip
    if skip is None:
        return False
    confidence = await foreseen(skip.foresight, cascade.embedder, prompt, observe)
    if confidence is None:
        return False
    observe(Foreseen(cascade.tiers[0].name, confidence))
    return confidence < skip.below


def parts_of(cascade: Cascade, drafting: Drafting, tier: Tier, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
    """A drafter's part of the answer; the first one's may be shown before it is whole, or be given up early."""
    policy = cascade.policy
    gate = gate_for(policy, prompt) if tier is cascade.tiers[0] else None
    if gate is None or not (may_open(policy.stream, prompt) or policy.stream.stop_at is not None):
        return drafting.held()
    return drafting.live(gate)


async def drafted(cascade: Cascade, prompt: Prompt, observe: Observe) -> Handover | None:
    """In mode `exact`: the first tier's draft for the final tier to verify, where that is of use to it; a drafter that
    fails, or takes too long to be of use, is done without."""
    first, final = cascade.tiers[0], cascade.final
    if first is final or prompt.choices > 1 or prompt.predicted is not None or not final.model.takes_handover:
        return None
    try:
        async with asyncio.timeout(DRAFT_WITHIN_S):
            held = await whole(first, prompt.with_token_ids(), observe)
    except ModelError:
        return None
    except TimeoutError:
        observe(Failed(first.name, "timeout"))
        return None
    observe(Drafted(first.name, held.tokens, 0))
    return handover_of(draft_of(held.deltas), held)


def go_up(cascade: Cascade, tier: Tier, following: Tier, verdict: GoUp, observe: Observe) -> None:
    """Escalate. Raises Overloaded where the tier failed, or one that was asked about its draft, and too many requests
    have gone up for that already."""
    failed = verdict.failed or verdict.reason in FAILURES
    if failed and not cascade.failover.may_go_up():
        observe(Capped(tier.name))
        raise Overloaded(f"tier {tier.name!r} fails, and the share of requests that may go up for that is used up")
    observe(Escalated(tier.name, following.name, verdict.reason))


def finally_answered(tier: Tier, prompt: Prompt, observe: Observe) -> AsyncGenerator[Delta | Finish]:
    """The final tier's deltas as they come, and its finish. Raises a ModelError."""
    if (lacked := tier.lacks(prompt)) is not None:
        raise CapabilityMiss(f"messages: the model takes no {lacked}", param="messages")
    answered = metered(tier, prompt, observe)
    return answered if prompt.prefix is None else without_opening(answered)


async def without_opening(parts: AsyncGenerator[Delta | Finish]) -> AsyncGenerator[Delta | Finish]:
    """An answer that was opened already, by the words that it goes on from. Raises BadReply where it thinks anew."""
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Finish):
                yield part
                continue
            if any(reasoning_of(piece.message) for piece in part.pieces):
                raise BadReply("the final tier thinks anew after what was shown: such a model cannot go on")
            if not is_opening(part):
                yield part
