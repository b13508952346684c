"""Which of a draft's tokens say how sure the drafter was; or that none do."""

import math
from collections.abc import Sequence
from dataclasses import replace

from models.answer import Choice, Piece, reasoning_of
from models.forms import last_turn, prompts
from models.prompt import Prompt
from models.tokens import NO_TOKENS
from router.events import EvidenceReason
from router.graders import said_in
from router.scorers import Evidence, Scorer
from router.text_features import Asked


def evidence_of(choice: Choice, prompt: Prompt) -> Evidence | EvidenceReason:
    """The answer's text and its own tokens, less those that a grammar forced.

    `no-evidence` where the model sent no log-probabilities, or its reasoning's alone, or those of less than half of the
    answer; `degenerate-evidence` where they are all zero or are no numbers: a score of these would be a constant.
    """
    tokens = choice.answer_tokens
    said = 0 if choice.tool_calls else len(choice.text)
    usable = any(tokens.logprobs) and not math.isnan(sum(tokens.logprobs))
    missing = lack(len(tokens), len(tokens.text), said=said, usable=usable)
    if missing is not None:
        return missing
    if prompt.constrains:
        tokens = tokens.where(tokens.logprobs)
    return Evidence(tokens, said_in(choice))


def read_of(choice: Choice, prompt: Prompt, *, reads_tokens: bool, asked: Asked | None) -> Evidence | EvidenceReason:
    """What a scorer reads: one that reads no tokens needs none; and what was `asked`, where it reads that."""
    read = evidence_of(choice, prompt) if reads_tokens else Evidence(NO_TOKENS, said_in(choice))
    return read if isinstance(read, str) or asked is None else replace(read, asked=asked)


def questions_in(prompt: Prompt) -> Sequence[Asked]:
    """What answers are read beside: the user's last turn, or each text that is to be completed."""
    if prompt.form == "completion":
        return [Asked(one if isinstance(one, str) else "") for one in prompts(prompt.fields)]
    return [Asked(last_turn(prompt.fields))]


def lack(tokens: int, characters: int, *, said: int, usable: bool) -> EvidenceReason | None:
    """What is wrong with so many tokens of so many characters as evidence for an answer that said more or fewer."""
    if not tokens or 2 * characters < said:
        return "no-evidence"
    return None if usable else "degenerate-evidence"


class EvidenceSoFar:
    """The same of a draft of one choice under way, in constant memory; no grammar may force its tokens.

    `tokens` counts those of the answer itself: what comes with reasoning, or between it and the answer, is none.
    `characters` are the answer's. Raises ValueError where the scorer cannot score what is not whole.
    """

    def __init__(self, scorer: Scorer) -> None:
        if scorer.running is None:
            raise ValueError(f"the scorer {scorer.name!r} reads whole drafts alone")
        self._scorer = scorer
        self._running = scorer.running()
        self.characters = 0
        self._token_characters = 0
        self._reasons = False
        self._answers = False
        self._usable = True
        self._all_zero = True
        self.tokens = 0

    def add(self, piece: Piece) -> None:
        """One more piece of the draft."""
        message = piece.message
        text = message.get("content") or ""
        self.characters += len(text)
        reasons = bool(reasoning_of(message))
        self._reasons = self._reasons or reasons
        self._answers = self._answers or bool(text)
        if reasons or (self._reasons and not self._answers):
            return
        self.tokens += len(piece.tokens)
        for token in piece.tokens:
            self._token_characters += len(token.text)
            self._all_zero = self._all_zero and token.logprob == 0.0
            self._usable = self._usable and not math.isnan(token.logprob)
            if self._usable:
                self._running.add(token)

    @property
    def missing(self) -> EvidenceReason | None:
        """Why the draft cannot be scored, if it cannot; see `evidence_of`."""
        usable = self._usable and not self._all_zero
        return lack(self.tokens, self._token_characters, said=self.characters, usable=usable)

    @property
    def score(self) -> float:
        """In the scorer's own unit; only where nothing is missing."""
        return self._running.score

    @property
    def confidence(self) -> float:
        """In [0, 1]; only where nothing is missing."""
        return self._scorer.confidence(self._running.score)
