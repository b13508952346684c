"""A stream that opens before its draft is whole: what may be shown of it, and when it is in doubt. Knows no model.

The first tokens are held (the gate) until it is likely enough that the whole draft will be accepted; then they are
released, and the rest follows behind a short window (the holdback) that keeps being scored.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.answer import Delta, Draft, Finish, Piece, choice_of
from models.prompt import Prompt
from models.resuming import may_go_on, speaks
from router.checks import failed_check, is_looping, is_refused
from router.evidence import EvidenceSoFar
from router.gate import Gate, StreamRules
from router.policy import GoUp, Judgement, Keep, Policy, judge, scored

LOOKS_FOR_LOOPS_EVERY = 128  # tokens


def gate_for(policy: Policy, prompt: Prompt) -> Gate | None:
    """The gate, where it can tell anything of this request: one free answer in a conversation, judged by the rule that
    the gate was fitted for."""
    gate = policy.stream.gate
    if gate is None or (policy.scorer.name, policy.threshold) != (gate.scorer, gate.threshold):
        return None
    return gate if prompt.form == "chat" and prompt.choices == 1 and not prompt.constrains else None


def may_open(rules: StreamRules, prompt: Prompt) -> bool:
    """Whether the stream may open before its draft is whole."""
    if rules.on_doubt == "hold" or not prompt.streams:
        return False
    return rules.on_doubt == "finish" or may_go_on(prompt)


@dataclass(frozen=True, slots=True)
class Opening:
    """At how many answer tokens a gate opened, and how likely the whole draft will be accepted."""

    tokens: int
    confidence: float


class Stream:
    """A draft of one choice on its way through gate and holdback.

    `opened` and `doubt` are None until there is such a thing; `tokenizer` is the first delta's; `finish` is the draft's
    end.
    """

    def __init__(self, gate: Gate, policy: Policy, prompt: Prompt) -> None:
        self._gate = gate
        self._rules = policy.stream
        self._policy = policy
        self._prompt = prompt
        self._may_open = may_open(policy.stream, prompt)
        self._sizes = deque(gate.sizes_from(policy.stream.gate_tokens))
        self._evidence = EvidenceSoFar(policy.scorer)
        self._held: deque[Delta] = deque()
        self._held_tokens = 0
        self._pieces: list[Piece] = []
        self._shown_pieces = 0
        self._is_plain = True
        self._looked_for_loops_at = 0
        self.opened: Opening | None = None
        self.doubt: GoUp | None = None
        self.tokenizer: str | None = None
        self.finish = Finish(None)

    def take(self, delta: Delta) -> Sequence[Delta]:
        """What may be shown now that this has come; doubt may have come with it."""
        self.tokenizer = self.tokenizer or delta.tokenizer
        self._held.append(delta)
        self._held_tokens += delta.length
        for piece in delta.pieces:
            self._evidence.add(piece)
            self._is_plain = self._is_plain and piece.is_plain
            self._pieces.append(without_tokens(piece) if self.opened else piece)
        if self.opened is None:
            self._try_gate()
        elif self._rules.on_doubt == "continue":
            self._look_for_doubt()
        return self._let_out()

    def end(self, finish: Finish) -> Judgement:
        """The draft is whole: the judgement of all of it."""
        self.finish = finish
        if self.opened is None:
            return judge(self._draft, self._prompt, self._policy)
        if self._rules.on_doubt == "finish":
            return Judgement(Keep("opened"))
        failed = failed_check(self._draft.choices, self._prompt, self._policy.checks) or self._evidence.missing
        if failed is not None:
            return Judgement(GoUp(failed))
        return scored(self._evidence.score, self._policy)

    def all_that_is_held(self) -> Sequence[Delta]:
        """What is left to show of an accepted draft."""
        return [self._out() for _ in range(len(self._held))]

    @property
    def tokens(self) -> int:
        """How many the draft has so far."""
        return self._held_tokens + self.shown_tokens

    @property
    def shown(self) -> Sequence[Piece]:
        """The pieces that were let out."""
        return self._pieces[: self._shown_pieces]

    @property
    def shown_tokens(self) -> int:
        """How many were let out."""
        return sum(piece.length for piece in self.shown)

    @property
    def rest(self) -> Sequence[Piece]:
        """Those that were not."""
        return self._pieces[self._shown_pieces :]

    @property
    def is_the_drafters_alone(self) -> bool:
        """Whether nobody but the drafter may go on."""
        return self.opened is not None and self._rules.on_doubt == "finish"

    @property
    def _draft(self) -> Draft:
        return Draft((choice_of(self._pieces),) if self._pieces else ())

    def _try_gate(self) -> None:
        probability = self._probability()
        if probability is None:
            return
        if self._rules.stop_at is not None and probability <= self._rules.stop_at:
            self.doubt = GoUp("unsure")
        elif self._may_open and probability >= self._rules.open_at and self._may_be_shown():
            self.opened = Opening(self._evidence.tokens, probability)
            self._pieces = [without_tokens(piece) for piece in self._pieces]

    def _probability(self) -> float | None:
        """P(the whole draft will be accepted) at each size that the gate was fitted for, and where it is 0 for sure."""
        evidence = self._evidence
        if evidence.missing is not None:
            return None
        if self._policy.scorer.only_falls and evidence.confidence < self._policy.threshold:
            return 0.0
        probability = None
        while self._sizes and evidence.tokens >= self._sizes[0]:
            probability = self._gate.curves[self._sizes.popleft()].probability(evidence.confidence)
        return probability

    def _may_be_shown(self) -> bool:
        """Whether the beginning passes the checks that a beginning can fail; reasoning cannot be gone on from."""
        choice = choice_of(self._pieces)
        if not self._is_plain and self._rules.on_doubt == "continue":
            return False
        return bool(choice.text.strip()) and not ("refused" in self._policy.checks and is_refused(choice, self._prompt))

    def _look_for_doubt(self) -> None:
        evidence = self._evidence
        if evidence.missing is not None or evidence.confidence < self._policy.threshold:
            self.doubt = GoUp(evidence.missing or "unsure")
        elif evidence.tokens - self._looked_for_loops_at >= LOOKS_FOR_LOOPS_EVERY and "looping" in self._policy.checks:
            self._looked_for_loops_at = evidence.tokens
            if is_looping(choice_of(self._pieces), self._prompt):
                self.doubt = GoUp("looping")

    def _let_out(self) -> Sequence[Delta]:
        """What the holdback does not keep; nothing from the first piece on that is no plain text, until the end."""
        if self.opened is None or self.doubt is not None:
            return []
        if self._rules.on_doubt == "finish":
            return self.all_that_is_held()
        return [self._out() for _ in range(self._ready())] if self._is_plain else []

    def _ready(self) -> int:
        """How many deltas the holdback does not keep; the last one has words, so that an answer can go on after it."""
        kept_tokens, ready = self._held_tokens, 0
        for place, delta in enumerate(self._held, 1):
            kept_tokens -= delta.length
            if kept_tokens < self._rules.holdback_tokens:
                break
            if speaks(delta):
                ready = place
        return ready

    def _out(self) -> Delta:
        delta = self._held.popleft()
        self._held_tokens -= delta.length
        self._shown_pieces += len(delta.pieces)
        return delta


def without_tokens(piece: Piece) -> Piece:
    """A piece whose tokens were scored; it still knows how many they were, where it has their ids."""
    return replace(piece, tokens=()) if piece.token_ids else piece
