"""From a client's body to the prompts and sequences that it asks for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from models.engine import checks
from models.engine.bodies import (
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    GenerationBody,
    Message,
    Templated,
    TokenizeBody,
)
from models.engine.card import Card
from models.engine.errors import Refused
from models.engine.generation import Ending, Generation, Sampling
from models.engine.tokenizer import Tokenizer
from models.handover import contract

_COMPLETION_TOKENS: Final = 16


class Reader:
    """Refuses what cannot be served; fills in what was left open."""

    def __init__(self, tokenizer: Tokenizer, card: Card) -> None:
        self._tokenizer = tokenizer
        self._card = card

    def chat(self, body: ChatBody) -> list[Generation]:
        """One for each choice."""
        self._check(body)
        checks.check_chat(body)
        most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
        top = (body.top_logprobs or 0) if body.logprobs else None
        transfer = body.kv_transfer_params
        prompt = transfer.prompt_token_ids if transfer else None
        if prompt is None:
            prompt = self._rendered(body, body.messages, special_tokens=body.add_special_tokens)
        return self._choices(body, prompt, most, top)

    def completion(self, body: CompletionBody) -> list[Generation]:
        """One for each choice of each prompt."""
        self._check(body)
        checks.check_completion(body)
        most = _COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
        prompts = self._prompts(body)
        if not prompts:
            raise Refused("prompt cannot be empty", param="prompt")
        return [generation for prompt in prompts for generation in self._choices(body, prompt, most, body.logprobs)]

    def tokens(self, body: TokenizeBody) -> list[int]:
        """The ids of a prompt or a conversation."""
        checks.check_model(body, self._card)
        checks.check_supported(body)
        if body.messages is not None:
            special = body.add_special_tokens or False
            return self._rendered(body, body.messages, special_tokens=special)
        if body.prompt is None:
            raise Refused("a prompt or messages are needed", param="prompt")
        return self._encoded(body.prompt, special_tokens=body.add_special_tokens is not False)

    def check_ids(self, body: DetokenizeBody) -> None:
        """Refuse ids that are none of the vocabulary's."""
        checks.check_model(body, self._card)
        checks.check_vocabulary(body.tokens, self._card, param="tokens")

    def _check(self, body: GenerationBody) -> None:
        checks.check_model(body, self._card)
        checks.check_supported(body)
        checks.check_values(body)

    def _prompts(self, body: CompletionBody) -> list[list[int]]:
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        several = [prompt for prompt in prompts if not isinstance(prompt, int)]
        if len(several) < len(prompts):
            return [[token for token in prompts if isinstance(token, int)]]
        return [
            self._encoded(prompt, special_tokens=body.add_special_tokens) if isinstance(prompt, str) else prompt
            for prompt in several
        ]

    def _rendered(self, how: Templated, messages: Sequence[Message], *, special_tokens: bool) -> list[int]:
        if how.add_generation_prompt and how.continue_final_message:
            reason = "cannot be true together with 'add_generation_prompt'"
            raise Refused(f"'continue_final_message' {reason}", param="continue_final_message")
        text = self._tokenizer.render(
            [_plain(message) for message in messages],
            add_generation_prompt=how.add_generation_prompt,
            continue_final_message=how.continue_final_message,
            template_arguments=how.chat_template_kwargs or {},
        )
        return self._encoded(text, special_tokens=special_tokens)

    def _encoded(self, text: str, *, special_tokens: bool) -> list[int]:
        checks.check_text(text, self._card, self._tokenizer.longest_token_chars)
        return self._tokenizer.encode(text, special_tokens=special_tokens)

    def _choices(
        self, body: GenerationBody, prompt: list[int], max_tokens: int | None, top: int | None
    ) -> list[Generation]:
        checks.check_budget(max_tokens, self._card)
        checks.check_prompt(prompt, self._card)
        room = self._card.max_model_len - len(prompt)
        count = body.n or 1
        ending = self._ending(body, room if max_tokens is None else min(room, max_tokens))
        sampling = [self._sampling(body, at) for at in range(count)]
        checks.check_choices(count, sampling[0].temperature)
        draft = self._draft(body)
        return [Generation(tuple(prompt), each, ending, top, body.skip_special_tokens, draft) for each in sampling]

    def _draft(self, body: GenerationBody) -> tuple[int, ...]:
        raw = (body.vllm_xargs or {}).get(contract.KEY)
        return contract.draft_of(raw, vocabulary=self._card.vocabulary)[: self._card.max_model_len]

    def _sampling(self, body: GenerationBody, choice: int) -> Sampling:
        given = body.model_dump(include={"temperature", "top_k", "top_p"}, exclude_none=True)
        seed = None if body.seed is None else body.seed + choice
        return replace(self._card.sampling, **given, seed=seed)

    def _ending(self, body: GenerationBody, max_tokens: int) -> Ending:
        named = frozenset(body.stop_token_ids or ())
        return Ending(
            max_tokens=max_tokens,
            eos=frozenset() if body.ignore_eos else self._card.eos,
            token_ids=named if body.ignore_eos else named | self._card.stop_ids,
            strings=body.stop_strings(),
            shown=body.include_stop_str_in_output,
        )


def _plain(message: Message) -> dict[str, object]:
    return {**message.model_dump(exclude_unset=True), "content": _text(message)}


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    texts = [part.text for part in message.content or () if part.type == "text"]
    if len(texts) < len(message.content or ()) or None in texts:
        raise Refused("only text can be in a message, this is no multimodal model", param="messages")
    return "\n".join(text for text in texts if text is not None)
