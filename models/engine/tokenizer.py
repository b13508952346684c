"""The model's tokenizer: text and conversations to ids, ids to text."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Final

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from models.engine.errors import Refused

_BROKEN: Final = "\ufffd"
_LONGEST_CHARACTER_TOKENS: Final = 4


class Tokenizer:
    """Safe to call from several threads."""

    def __init__(self, backend: PreTrainedTokenizerBase) -> None:
        self._backend = backend
        self._texts: dict[int, str] = {}
        eos: int | None = backend.eos_token_id
        self.eos = frozenset[int]() if eos is None else frozenset({eos})
        self.longest_token_chars = max(map(len, backend.get_vocab()), default=1)
        # The first call may change the backend's truncation state, which is not thread-safe.
        self.encode("a", special_tokens=True)

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        """Ids of `text`, with or without what the tokenizer puts around a text."""
        token_ids: list[int] = self._backend.encode(text, add_special_tokens=special_tokens)
        return token_ids

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool,
        template_arguments: Mapping[str, object],
    ) -> str:
        """The conversation as the chat template writes it."""
        if not self._backend.chat_template:
            raise Refused("this model has no chat template, use /v1/completions", param="messages")
        apply = self._backend.apply_chat_template
        if taken := sorted(template_arguments.keys() & inspect.signature(apply).parameters.keys()):
            raise Refused(f"{taken[0]!r} is not a template's to know", param="chat_template_kwargs")
        try:
            text = apply(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                **template_arguments,
            )
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = f"the chat template cannot render these messages: {error}"
            raise Refused(reason, param="messages") from error
        return str(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text as a reader should see it, without special tokens."""
        return self._decode(token_ids, skip_special_tokens=True)

    def decode_all(self, token_ids: Sequence[int]) -> str:
        """The text with special tokens written out."""
        return self._decode(token_ids, skip_special_tokens=False)

    def token_strings(self, token_ids: Sequence[int]) -> list[str]:
        """The tokens as the vocabulary spells them."""
        return [str(self._backend.convert_ids_to_tokens(token_id)) for token_id in token_ids]

    def token_text(self, token_id: int, before: Sequence[int]) -> str:
        """The text of one token, as vLLM reports it beside a log-probability.

        Of the tokens that spell one character together, the last has all of it, the others none.
        """
        alone = self._texts.get(token_id)
        if alone is None:
            alone = self._texts[token_id] = self.decode_all([token_id])
        if _BROKEN not in alone:
            return alone
        for count in range(1, min(_LONGEST_CHARACTER_TOKENS, len(before)) + 1):
            context = before[-count:]
            text = self.decode_all([*context, token_id])
            if _BROKEN not in text:
                return text.removeprefix(self.decode_all(context).rstrip(_BROKEN))
        return ""

    def _decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return str(
            self._backend.decode(
                list(token_ids),
                skip_special_tokens=skip_special_tokens,
                clean_up_tokenization_spaces=False,
            )
        )
