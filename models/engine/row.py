"""One sequence while it is written: its tokens, its text, and whether it has ended."""

from collections.abc import Callable, Sequence

import torch

from models.engine.errors import EngineError
from models.engine.generation import Candidate, Delta, Finish, Generation, Token, Verification
from models.engine.sampler import Score
from models.engine.text import Detokenizer, StopStrings
from models.engine.tokenizer import Tokenizer
from models.handover.following import Following


class Row:
    """Belongs to the step loop; others only set `abandoned`, which frees its place.

    `proposal` are the draft tokens, at most `speculative_tokens`, for the next step to verify; often none.
    """

    def __init__(
        self,
        generation: Generation,
        index: int,
        tokenizer: Tokenizer,
        device: torch.device,
        tell: Callable[[Delta | EngineError], None],
        *,
        speculative_tokens: int,
    ) -> None:
        show = tokenizer.decode if generation.skip_special_tokens else tokenizer.decode_all
        ending = generation.ending
        self.generation = generation
        self.index = index
        self.tell = tell
        self.abandoned = False
        self.generator = _generator(generation.sampling.seed, device)
        self.tokens: list[int] = []
        self.proposal: tuple[int, ...] = ()
        self._speculative_tokens = speculative_tokens
        self._following = Following(generation.draft) if generation.draft and speculative_tokens else None
        self._tokenizer = tokenizer
        self._offset = 0
        self._detokenizer = Detokenizer(show, generation.prompt)
        self._stops = StopStrings(ending.strings, shown=ending.shown)

    def write(self, tokens: Sequence[int], scores: Sequence[Score | None]) -> Delta:
        """Append a step's tokens until one ends the answer; what the client is told of them."""
        is_first = not self.tokens
        written: list[Token] = []
        text = ""
        finish, stop_reason = None, None
        for token_id, score in zip(tokens, scores, strict=True):
            written.append(self._token(token_id, score))
            self.tokens.append(token_id)
            text += self._text(token_id)
            finish, stop_reason = self._finish(token_id)
            if finish is not None:
                text += self._stops.rest()
                break
        verification = self._verification(tokens[: len(written)])
        self.proposal = self._propose(tokens[: len(written)])
        return Delta(self.index, is_first, text, tuple(written), finish, stop_reason, verification)

    def _verification(self, written: Sequence[int]) -> Verification | None:
        if not self.proposal:
            return None
        accepted = sum(ours == draft for ours, draft in zip(written, self.proposal, strict=False))
        return Verification(len(self.proposal), accepted)

    def _propose(self, written: Sequence[int]) -> tuple[int, ...]:
        if self._following is None:
            return ()
        self._following.take(written)
        # A step writes one token more than it accepts.
        room = self.generation.ending.max_tokens - len(self.tokens) - 1
        return self._following.next(min(self._speculative_tokens, room))

    def _token(self, token_id: int, score: Score | None) -> Token:
        if score is None:
            return Token(token_id, chosen=None, top=(), offset=0)
        before = [*self.generation.prompt[-4:], *self.tokens[-4:]]
        ranked = ((token_id, score.logprob), *score.top)
        chosen, *top = (Candidate(each, self._tokenizer.token_text(each, before), logprob) for each, logprob in ranked)
        offset = self._offset
        self._offset += len(chosen.text)
        return Token(token_id, chosen, tuple(top), offset)

    def _text(self, token_id: int) -> str:
        if self._is_stop(token_id) and not self.generation.ending.shown:
            return ""
        return self._stops.add(self._detokenizer.add(token_id))

    def _finish(self, token_id: int) -> tuple[Finish | None, int | str | None]:
        ending = self.generation.ending
        if token_id in ending.eos:
            return "stop", None
        if token_id in ending.token_ids:
            return "stop", token_id
        if self._stops.found is not None:
            return "stop", self._stops.found
        if len(self.tokens) >= ending.max_tokens:
            return "length", None
        return None, None

    def _is_stop(self, token_id: int) -> bool:
        ending = self.generation.ending
        return token_id in ending.eos or token_id in ending.token_ids


def _generator(seed: int | None, device: torch.device) -> torch.Generator:
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator
