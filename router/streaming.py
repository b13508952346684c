"""A stream that opens before its draft is whole: what may be shown of it, and when it is in doubt. Knows no model.

The first tokens are held (the gate) until it is likely enough that the whole draft will be accepted; then they are
released, and the rest follows behind a short window (the holdback) that keeps being scored.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.answer import Delta, Draft, Finish, Piece, choice_of, text_of
from models.gathering import Gathered
from models.holding import Held
from models.prompt import Prompt
from models.resuming import may_go_on
from router.calibration import LEAST
from router.checks import LOOP_WINDOW, failed_check, is_looping, is_refused
from router.evidence import EvidenceSoFar
from router.gate import Gate, StreamRules
from router.policy import GoUp, Judgement, Keep, Policy, judge, scored, without_evidence

LOOKS_FOR_LOOPS_EVERY = 128  # tokens
BEGINNING_CHARACTERS = 200


def gate_for(policy: Policy, prompt: Prompt) -> Gate | None:
    """The gate, where it can tell anything of this request: one free answer in a conversation, judged by the rule that
    the gate was fitted for, which knows of no verdict."""
    gate = policy.stream.gate
    if gate is None or policy.threshold != gate.threshold:
        return None
    if policy.scorer.running is None or policy.verdict is not None:
        return None
    return gate if prompt.form == "chat" and prompt.choices == 1 and not prompt.constrains else None


def may_open(rules: StreamRules, prompt: Prompt) -> bool:
    """Whether the stream may open before its draft is whole. What an engine with speculation cannot take is held, for
    the final tier may have no other."""
    if rules.on_doubt == "hold" or not prompt.streams:
        return False
    return rules.on_doubt == "finish" or (may_go_on(prompt) and prompt.bars_speculation is None)


@dataclass(frozen=True, slots=True)
class Opening:
    """At how many answer tokens a gate opened, and how likely the whole draft will be accepted."""

    tokens: int
    confidence: float


class Stream:
    """A draft of one choice on its way through gate and holdback.

    `opened` and `doubt` are None until there is such a thing; `tokenizer` is the first delta's; `finish` is the draft's
    end; `shown_tokens` is how many were let out.
    """

    def __init__(self, gate: Gate, policy: Policy, prompt: Prompt) -> None:
        self._gate = gate
        self._rules = policy.stream
        self._policy = policy
        self._prompt = prompt
        self._may_open = may_open(policy.stream, prompt)
        self._sizes = deque(gate.sizes_from(policy.stream.gate_tokens))
        self._evidence = EvidenceSoFar(policy.scorer)
        self._shut_in = Held()
        self._window: deque[tuple[Delta, int]] = deque()  # and its tokens
        self._window_tokens = 0
        self._shown = Gathered()
        self._is_plain = True
        self._sure_from = math.inf
        self._looked_for_loops_at = 0
        self.opened: Opening | None = None
        self.doubt: Judgement | None = None
        self.tokenizer: str | None = None
        self.finish = Finish(None)
        self.shown_tokens = 0

    def take(self, delta: Delta) -> Sequence[Delta]:
        """What may be shown now that this has come; doubt may have come with it."""
        self.tokenizer = self.tokenizer or delta.tokenizer
        for piece in delta.pieces:
            self._evidence.add(piece)
            self._is_plain = self._is_plain and piece.is_plain
        if self.opened is None:
            self._shut_in.add(delta)
            if not delta.ends:
                self._try_gate()
        else:
            self._wait_for_holdback(delta)
            if self._rules.on_doubt == "continue":
                self._look_for_doubt()
        return self._let_out()

    def end(self, finish: Finish) -> Judgement:
        """The draft is whole: the judgement of all of it."""
        self.finish = finish
        if self.opened is None:
            return judge(self._draft, self._prompt, self._policy)
        if self._rules.on_doubt == "finish":
            return Judgement(Keep("opened"))
        failed = failed_check(self._draft.choices, self._prompt, self._policy.checks)
        if failed is not None:
            return Judgement(GoUp(failed))
        if self._evidence.missing is not None:
            return without_evidence(self._evidence.missing, self._policy)
        return scored(self._evidence.score, self._policy)

    def all_that_is_held(self) -> Iterator[Delta]:
        """What is left to show of an accepted draft."""
        yield from self._shut_in.deltas
        for delta, _ in self._window:
            yield delta

    @property
    def tokens(self) -> int:
        """How many the draft has so far."""
        return self._shut_in.tokens + self._window_tokens + self.shown_tokens

    @property
    def shown(self) -> Sequence[Piece]:
        """The pieces that were let out."""
        return self._shown.pieces

    @property
    def shows(self) -> bool:
        """Whether any piece was let out."""
        return self._shown.count > 0

    @property
    def rest(self) -> Sequence[Piece]:
        """Those that were not."""
        pieces = [piece for delta in self.all_that_is_held() for piece in delta.pieces]
        return pieces if self.opened is None else [*map(without_tokens, pieces)]

    @property
    def is_the_drafters_alone(self) -> bool:
        """Whether nobody but the drafter may go on."""
        return self.opened is not None and self._rules.on_doubt == "finish"

    @property
    def _draft(self) -> Draft:
        pieces = self._pieces
        return Draft((choice_of(pieces),) if pieces else ())

    @property
    def _pieces(self) -> list[Piece]:
        return [*self._shown.pieces, *self.rest]

    def _try_gate(self) -> None:
        probability = self._probability()
        if probability is None:
            return
        if self._rules.stop_at is not None and probability <= self._rules.stop_at:
            self.doubt = Judgement(GoUp("unsure"), self._evidence.score, self._evidence.confidence)
        elif self._may_open and probability >= max(self._rules.open_at, LEAST) and self._may_be_shown():
            self.opened = Opening(self._evidence.tokens, probability)
            for delta in self._shut_in.deltas:
                self._wait_for_holdback(delta)
            self._shut_in = Held()

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
        """Whether the beginning passes the checks that a beginning can fail, and could be gone on from: it is no
        reasoning, and in no doubt already."""
        if self._rules.on_doubt == "continue" and (self._is_unsure or not self._is_plain):
            return False
        return bool(text_of(self._pieces).strip()) and not self._refuses()

    def _look_for_doubt(self) -> None:
        missing = self._evidence.missing
        if missing is not None:
            judgement = without_evidence(missing, self._policy)
            self.doubt = judgement if isinstance(judgement.ruling, GoUp) else None
        elif self._is_unsure:
            self.doubt = scored(self._evidence.score, self._policy)
        if self.doubt is None and self._refuses():
            self.doubt = Judgement(GoUp("refused"))
        if self.doubt is None and self._loops():
            self.doubt = Judgement(GoUp("looping"))

    @property
    def _is_unsure(self) -> bool:
        """Whether what is there so far would not be accepted. No confidence falls as the score rises, so a score above
        one that would be accepted is not looked up."""
        score = self._evidence.score
        if score >= self._sure_from:
            return False
        is_unsure = self._evidence.confidence < self._policy.threshold
        self._sure_from = self._sure_from if is_unsure else score
        return is_unsure

    def _refuses(self) -> bool:
        """Whether a short beginning is a refusal; a longer one would have shown it before."""
        if "refused" not in self._policy.checks or self._evidence.characters > BEGINNING_CHARACTERS:
            return False
        return is_refused(choice_of(self._pieces), self._prompt)

    def _loops(self) -> bool:
        """Whether the end repeats itself; looked for every so many tokens."""
        tokens = self._evidence.tokens
        if "looping" not in self._policy.checks or tokens - self._looked_for_loops_at < LOOKS_FOR_LOOPS_EVERY:
            return False
        self._looked_for_loops_at = tokens
        return is_looping(choice_of(self._pieces[-LOOP_WINDOW:]), self._prompt)

    def _wait_for_holdback(self, delta: Delta) -> None:
        length = delta.length
        self._window.append((delta, length))
        self._window_tokens += length

    def _let_out(self) -> Sequence[Delta]:
        """What the holdback does not keep; nothing from the first piece on that is no plain text, until the end."""
        if self.opened is None or self.doubt is not None:
            return []
        if self._rules.on_doubt == "finish":
            return [self._out() for _ in range(len(self._window))]
        return [self._out() for _ in range(self._ready())] if self._is_plain else []

    def _ready(self) -> int:
        """How many deltas the holdback does not keep. The last one's words do not end in white space, which some chat
        templates would cut off where an answer goes on from text; and none is the answer's end."""
        kept_tokens, ready = self._window_tokens, 0
        for place, (delta, length) in enumerate(self._window, 1):
            kept_tokens -= length
            if kept_tokens < self._rules.holdback_tokens or delta.ends:
                break
            words = text_of(delta.pieces)
            if words and not words[-1].isspace():
                ready = place
        return ready

    def _out(self) -> Delta:
        delta, length = self._window.popleft()
        self._window_tokens -= length
        self.shown_tokens += length
        for piece in delta.pieces:
            self._shown.add(without_tokens(piece))
        return delta


def without_tokens(piece: Piece) -> Piece:
    """A piece whose tokens were scored; it still knows how many they were, where it has their ids."""
    if not piece.token_ids:
        return piece
    return Piece(piece.index, piece.message, finish_reason=piece.finish_reason, token_ids=piece.token_ids)
