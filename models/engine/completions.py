"""Replies of /v1/completions."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.engine.generation import Choice, Delta, Token
from models.engine.wire import Envelope, Json, Spell, chosen_first, token_ids


@dataclass(frozen=True, slots=True)
class CompletionForm:
    """A text completion as vLLM words it; `prompts` has one entry for each choice."""

    envelope: Envelope
    prompts: tuple[tuple[int, ...], ...]
    top_logprobs: int | None
    spell: Spell
    return_token_ids: bool

    def openings(self) -> list[Json]:
        """A text has no role to announce."""
        return []

    def chunk(self, delta: Delta) -> Json:
        """What a step wrote; a choice's first one brings the prompt's ids."""
        choice = self._choice(delta.index, delta.text, delta.tokens)
        if self.return_token_ids:
            choice["token_ids"] = token_ids(delta.tokens)
            choice["prompt_token_ids"] = self.prompts[delta.index] if delta.is_first else None
        ending = {"finish_reason": delta.finish, "stop_reason": delta.stop_reason}
        return self.envelope.around("text_completion", [{**choice, **ending}])

    def closing(self) -> Json:
        """The chunk without choices."""
        return self.envelope.around("text_completion", [])

    def whole(self, choices: Sequence[Choice]) -> Json:
        """The complete reply."""
        return self.envelope.around("text_completion", [self._whole(each) for each in choices])

    def _whole(self, choice: Choice) -> Json:
        asked = self.return_token_ids
        return {
            **self._choice(choice.index, choice.text, choice.tokens),
            "finish_reason": choice.finish,
            "stop_reason": choice.stop_reason,
            "token_ids": token_ids(choice.tokens) if asked else None,
            "prompt_logprobs": None,
            "prompt_token_ids": self.prompts[choice.index] if asked else None,
        }

    def _choice(self, index: int, text: str, tokens: Sequence[Token]) -> dict[str, object]:
        return {"index": index, "text": text, "logprobs": self._logprobs(tokens)}

    def _logprobs(self, tokens: Sequence[Token]) -> Json | None:
        if self.top_logprobs is None:
            return None
        candidates = [chosen_first(token)[: self.top_logprobs + 1] for token in tokens]
        return {
            "tokens": [self.spell(chosen) for chosen, *_ in candidates],
            "token_logprobs": [chosen.logprob for chosen, *_ in candidates],
            "top_logprobs": [{self.spell(each): each.logprob for each in reversed(likely)} for likely in candidates],
            "text_offset": [token.offset for token in tokens],
        }
