"""A stream whose server died goes on from another: what was said, and whether the rest can follow it. Pure."""

from dataclasses import replace
from typing import Literal

from models.answer import Delta, Finish, Piece, Usage
from models.prompt import Prompt, Written
from models.wire import WireUsage

OnBrokenStream = Literal["resume", "fail"]
Continuation = Literal["exact", "inexact", "impossible"]

# Rules whose state lies in text that was held back, or in a grammar or parser in the middle of its work.
BARS_RESUMING = (
    "stop", "structured_outputs", "echo", "truncate_prompt_tokens", "continue_final_message", "prompt_logprobs",
)  # fmt: skip
COUNTS_WRITTEN_TOKENS = ("presence_penalty", "frequency_penalty", "min_tokens", "bad_words")


class Said:
    """What a client has been told of an answer, token by token; good for one stream."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._prompt_ids: tuple[int, ...] = ()
        self._ids: list[int] = []
        self._held: list[Delta] = []
        self._held_ids: list[int] = []
        self._before = 0
        self._traceable = prompt.identified and prompt.choices == 1
        self._plain = True
        self.begun = False

    def told(self, delta: Delta) -> list[Delta | Finish]:
        """What to pass on now: a delta without a word waits for the next that has one, so that what was passed on
        always ends with whole characters."""
        if self._before and is_opening(delta):
            return []  # the second server announces the answer again
        if not self._prompt_ids:
            self._prompt_ids = prompt_ids_of(delta)
        self._held.append(delta)
        self._held_ids += [token_id for piece in delta.pieces for token_id in piece.token_ids]
        if not speaks(delta):
            return []
        self.begun = True
        self._take(delta)
        passed, self._held = self._held, []
        return [*passed]

    def continuation(self) -> Continuation:
        """How true the rest of the answer can be to what an undisturbed server would have written."""
        fields = self._prompt.fields
        limit = self._prompt.length_limit
        if not (self._traceable and self._plain and self._prompt_ids) or self._prompt.constrains:
            return "impossible"
        if any(fields.get(name) for name in BARS_RESUMING) or (limit is not None and limit <= len(self._ids)):
            return "impossible"
        return (
            "exact"
            if self._prompt.is_greedy and not any(fields.get(name) for name in COUNTS_WRITTEN_TOKENS)
            else "inexact"
        )

    def rest_of_prompt(self) -> Prompt:
        """What to ask another server for; what was not passed on is written anew."""
        self._held, self._held_ids = [], []
        self._before = len(self._ids)
        return self._prompt.going_on(Written(self._prompt_ids, tuple(self._ids)))

    def ended(self, finish: Finish) -> list[Delta | Finish]:
        """What is left to pass on, and the finish as one server would have reported the whole answer."""
        return [*self._held, self._whole(finish)]

    def _whole(self, finish: Finish) -> Finish:
        if not self._before or finish.usage is None:
            return finish
        usage = Usage(len(self._prompt_ids), self._before + finish.usage.completion_tokens, finish.usage.estimated)
        counted: WireUsage = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
        return replace(finish, usage=usage, reported={**(finish.reported or {}), **counted})

    def _take(self, delta: Delta) -> None:
        self._traceable = self._traceable and all(piece.token_ids for piece in delta.pieces if piece.characters)
        self._plain = self._plain and all(map(is_plain, delta.pieces))
        self._ids += self._held_ids
        self._held_ids = []


def speaks(delta: Delta) -> bool:
    """Whether a delta has words, or ends an answer."""
    return any(piece.characters or piece.finish_reason for piece in delta.pieces)


def is_opening(delta: Delta) -> bool:
    """Whether a delta only announces an answer."""
    return not any(piece.characters or piece.finish_reason or piece.token_ids for piece in delta.pieces)


def is_plain(piece: Piece) -> bool:
    """Whether a piece is text of the answer itself: no reasoning, refusal or tool call, which a parser made of the
    model's words."""
    return piece.characters == len(piece.message.get("content") or "")


def prompt_ids_of(delta: Delta) -> tuple[int, ...]:
    """The prompt's token ids, which the first delta of a stream brings."""
    return tuple(delta.reply.get("prompt_token_ids") or ())
