"""Replies of /v1/chat/completions."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.engine.generation import Candidate, Choice, Delta, Token
from models.engine.wire import Envelope, Json, Spell, chosen_first, token_ids


@dataclass(frozen=True, slots=True)
class ChatForm:
    """A chat completion as vLLM words it. `top_logprobs` None leaves log-probabilities out."""

    envelope: Envelope
    prompt: tuple[int, ...]
    choices: int
    top_logprobs: int | None
    spell: Spell
    return_token_ids: bool

    def openings(self) -> list[Json]:
        """The role of each choice, and once the prompt's ids."""
        delta = {"role": "assistant", "content": ""}
        choice = {"delta": delta, "logprobs": None, "finish_reason": None}
        first, *others = (self._chunk([{"index": at, **choice}]) for at in range(self.choices))
        if self.return_token_ids:
            first["prompt_token_ids"] = self.prompt
        return [first, *others]

    def chunk(self, delta: Delta) -> Json:
        """What a step wrote."""
        choice: dict[str, object] = {
            "index": delta.index,
            "delta": {"content": delta.text},
            "logprobs": self._logprobs(delta.tokens),
            "finish_reason": delta.finish,
        }
        if delta.finish is not None:
            choice["stop_reason"] = delta.stop_reason
        if self.return_token_ids:
            choice["token_ids"] = token_ids(delta.tokens)
        return self._chunk([choice])

    def closing(self) -> Json:
        """The chunk without choices."""
        return self._chunk([])

    def whole(self, choices: Sequence[Choice]) -> Json:
        """The complete reply."""
        return {
            **self.envelope.around("chat.completion", [self._choice(each) for each in choices]),
            "prompt_logprobs": None,
            "prompt_token_ids": self.prompt if self.return_token_ids else None,
            "kv_transfer_params": None,
        }

    def _chunk(self, choices: list[Json]) -> dict[str, object]:
        return self.envelope.around("chat.completion.chunk", choices)

    def _choice(self, choice: Choice) -> Json:
        message = {"role": "assistant", "content": choice.text, "refusal": None, "reasoning": None}
        return {
            "index": choice.index,
            "message": {**message, "tool_calls": []},
            "logprobs": self._logprobs(choice.tokens),
            "finish_reason": choice.finish,
            "stop_reason": choice.stop_reason,
            "token_ids": token_ids(choice.tokens) if self.return_token_ids else None,
        }

    def _logprobs(self, tokens: Sequence[Token]) -> Json | None:
        if self.top_logprobs is None:
            return None
        return {"content": [self._entry(token) for token in tokens]}

    def _entry(self, token: Token) -> Json:
        chosen, *others = chosen_first(token)
        top = [chosen, *others][: self.top_logprobs]
        return {**self._spelled(chosen), "top_logprobs": [self._spelled(each) for each in top]}

    def _spelled(self, candidate: Candidate) -> Json:
        text = self.spell(candidate)
        return {"token": text, "logprob": candidate.logprob, "bytes": list(text.encode())}
