"""One drafter at work: what may be shown of its draft, what becomes of it, and what is left for the next tier."""

import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain

from models.answer import Delta, Draft, Finish, Piece, draft_of, text_of
from models.errors import ModelError
from models.folding import whole_of
from models.holding import Held
from models.prompt import Handover, Prefix, Prompt
from router.call import CHARACTERS_PER_TOKEN, Observe, Tier, metered
from router.events import Accepted, Drafted, Failed, Opened, Scored, Wrote
from router.gate import Gate
from router.opinions import Asking, Attempt, Panel
from router.policy import (
    GoUp,
    Judgement,
    Keep,
    Policy,
    after_verdict,
    band_of,
    evidence_for,
    weighed,
    without_opinions,
)
from router.streaming import Stream

OF_NO_USE = frozenset({"empty", "looping"})


class Drafting:
    """An attempt of one drafter. `parts` yields what the client may be shown: all of an accepted draft, nothing of a
    rejected one but the beginning that its gate let out. Then `ruling` says what became of the draft, `handover` what
    the next tier's engine may verify, and `prefix` what was shown and must be gone on from.

    A drafter that fails is a reason to go up.
    """

    def __init__(self, tier: Tier, prompt: Prompt, policy: Policy, panel: Panel, observe: Observe) -> None:
        self._tier = tier
        self._prompt = prompt
        self._policy = policy
        self._panel = panel
        self._observe = observe
        self._began_s = 0.0
        self.ruling: Keep | GoUp = GoUp("unsure")
        self.handover: Handover | None = None
        self.prefix: Prefix | None = None

    async def held(self) -> AsyncGenerator[Delta | Finish]:
        """The draft, when all of it was judged and accepted."""
        try:
            held = await self._whole()
        except ModelError as error:
            self.ruling = GoUp(error.reason)
            return
        if isinstance(self.ruling, Keep):
            for part in held.parts:
                yield part

    async def live(self, gate: Gate) -> AsyncGenerator[Delta | Finish]:
        """The draft as its gate and holdback let it out, while it is being written; to a client that does not stream,
        in one piece at the end. Raises a ModelError where the drafter fails in an answer that it alone may finish."""
        stream = Stream(gate, self._policy, self._prompt)
        self._began_s = time.perf_counter()
        try:
            async with aclosing(self._written(stream)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._done(stream.tokens, shown=stream.shown_tokens)
        if isinstance(self.ruling, GoUp):
            self._leave(stream)
            return
        for last in self._worded(stream):
            yield last

    async def _whole(self) -> Held:
        """The draft, judged; what its scorer asks of models that need no draft is asked meanwhile. Raises a
        ModelError."""
        names, attempt = self._policy.scorer.opinions, Attempt(self._prompt, self._tier)
        asking = self._panel.asking(names, attempt, self._observe)
        try:
            return await self._judged_whole(asking)
        finally:
            if asking is not None:
                await asking.end()

    async def _judged_whole(self, asking: Asking | None) -> Held:
        held = await whole(self._tier, self._asking, self._observe, held_for=self._prompt)
        draft = draft_of(held.deltas)
        try:
            self.ruling = await self._decided(draft, asking)
        finally:
            self._done(held.tokens, shown=0)
        if isinstance(self.ruling, GoUp):
            self.handover = self._of_use(handover_of(draft, held))
        return held

    async def _decided(self, draft: Draft, asking: Asking | None) -> Keep | GoUp:
        """What becomes of a whole draft."""
        judgement = await self._weighed(draft, asking)
        self._scored(judgement)
        return await self._confirmed(judgement, draft)

    async def _weighed(self, draft: Draft, asking: Asking | None) -> Judgement:
        """The judgement of a whole draft, after the answers to its questions where it comes to them."""
        evidence = evidence_for(draft, self._prompt, self._policy)
        if isinstance(evidence, Judgement):
            return evidence
        if asking is None:
            return weighed(evidence, self._policy)
        answers = await asking.answers(draft)
        if answers.failed:
            return without_opinions(self._policy, failed=True)
        return weighed(evidence, self._policy, answers.of_choices)

    async def _confirmed(self, judgement: Judgement, draft: Draft) -> Keep | GoUp:
        """What becomes of a draft, after the final tier's verdict where it is in doubt."""
        band = band_of(judgement, self._policy)
        if band is None:
            return judgement.ruling
        try:
            probability = await self._panel.verdict(self._prompt, draft, self._observe)
        except ModelError:
            return without_opinions(self._policy, failed=True).ruling
        if probability is None:
            return without_opinions(self._policy).ruling
        return after_verdict(band, probability)

    async def _written(self, stream: Stream) -> AsyncGenerator[Delta]:
        """What may be shown before there is a ruling; then there is one."""
        try:
            async with aclosing(metered(self._tier, self._asking.streamed(), self._observe)) as parts:
                async for part in parts:
                    if isinstance(part, Finish):
                        self._judged(stream.end(part))
                        return
                    self._observe(Wrote(self._tier.name, part.pieces))
                    if stream.opened is None:
                        spare_evidence(part, self._prompt)
                    for shown in self._taken(stream, part):
                        yield shown
                    if stream.doubt is not None:
                        self._judged(stream.doubt)
                        return
        except ModelError as error:
            self._observe(Failed(self._tier.name, error.reason))
            if stream.is_the_drafters_alone:
                raise
            self.ruling = GoUp(error.reason)

    def _taken(self, stream: Stream, delta: Delta) -> Sequence[Delta]:
        """What may be shown now; the client's stream opens with the first of it."""
        was_shown = stream.shows
        shown = stream.take(delta)
        if shown and stream.opened is not None and not was_shown:
            waited_s = max(0.0, delta.received_s - self._began_s)
            self._observe(Opened(self._tier.name, stream.opened.tokens, stream.opened.confidence, waited_s))
        return shown

    def _worded(self, stream: Stream) -> Iterator[Delta | Finish]:
        """The rest of an accepted draft: its pieces, or all of it as one where the client does not stream."""
        rest, finish = stream.all_that_is_held(), stream.finish
        return chain(rest if self._prompt.streams else [whole_of([*rest], finish)], [finish])

    @property
    def _asking(self) -> Prompt:
        return self._prompt.scored(self._policy.scorer.alternatives)

    def _judged(self, judgement: Judgement) -> None:
        self.ruling = judgement.ruling
        self._scored(judgement)

    def _scored(self, judgement: Judgement) -> None:
        if judgement.score is not None and judgement.confidence is not None:
            self._observe(Scored(self._tier.name, judgement.score, judgement.confidence))

    def _done(self, tokens: int, *, shown: int) -> None:
        answered = tokens if isinstance(self.ruling, Keep) else shown
        self._observe(Drafted(self._tier.name, tokens, answered))
        if isinstance(self.ruling, Keep):
            self._observe(Accepted(self._tier.name, self.ruling.reason))

    def _leave(self, stream: Stream) -> None:
        """What was shown, to be gone on from; and what was not, for the next tier's engine to verify."""
        text = text_of(stream.shown)
        if text:
            tokens = stream.shown_tokens or -(-len(text) // CHARACTERS_PER_TOKEN)
            self.prefix = Prefix(text, tokens, ids_of(stream.shown), stream.tokenizer)
        rest = stream.rest
        handover = Handover(text_of(rest), ids_of(rest), stream.tokenizer)
        self.handover = self._of_use(handover if handover.text or handover.token_ids else None)

    def _of_use(self, handover: Handover | None) -> Handover | None:
        return None if isinstance(self.ruling, GoUp) and self.ruling.reason in OF_NO_USE else handover


async def whole(tier: Tier, prompt: Prompt, observe: Observe, *, held_for: Prompt | None = None) -> Held:
    """All that a drafter says; where it is held for a client, with the evidence that this asked for. Raises a
    ModelError."""
    held = Held()
    try:
        async with aclosing(metered(tier, prompt, observe)) as answered:
            async for part in answered:
                if isinstance(part, Delta):
                    observe(Wrote(tier.name, part.pieces))
                    if held_for is not None:
                        spare_evidence(part, held_for)
                held.add(part)
    except ModelError as error:
        observe(Failed(tier.name, error.reason))
        raise
    return held


def spare_evidence(delta: Delta, prompt: Prompt) -> None:
    """Take out of a reply the log-probabilities and token ids that its pieces have, and its client did not ask for: a
    draft that is held, token by token, is half as large without them."""
    for choice in delta.reply.get("choices") or ():
        if not prompt.wants_logprobs:
            choice["logprobs"] = None
        if not prompt.wants_token_ids:
            choice.pop("token_ids", None)


def handover_of(draft: Draft, held: Held) -> Handover | None:
    """A draft as the next tier's engine may verify it; several choices cannot be followed at once."""
    if len(draft.choices) != 1:
        return None
    choice = draft.choices[0]
    return Handover(choice.text, choice.token_ids, None if held.first is None else held.first.tokenizer)


def ids_of(pieces: Iterable[Piece]) -> tuple[int, ...]:
    """Their token ids; none where some piece that says something has none."""
    pieces = tuple(pieces)
    if any(piece.characters and not piece.token_ids for piece in pieces):
        return ()
    return tuple(token_id for piece in pieces for token_id in piece.token_ids)
