"""A stream whose server died goes on from another: what was said, and whether the rest can follow it. Pure."""

from array import array
from collections.abc import Mapping, Sequence
from io import StringIO
from operator import attrgetter
from typing import Literal

from msgspec import structs

from models.answer import Delta, Finish, Piece, Usage
from models.forms import parts_of
from models.prompt import Prompt, Written
from models.wire import Json, WireUsage

OnBrokenStream = Literal["resume", "fail"]
Continuation = Literal["exact", "inexact", "impossible"]

# Rules whose state lies in text that was held back, or in a grammar or parser in the middle of its work.
BARS_RESUMING = (
    "stop", "structured_outputs", "echo", "truncate_prompt_tokens", "continue_final_message", "prompt_logprobs",
)  # fmt: skip
CHARACTERS = attrgetter("characters")
COUNTS_WRITTEN_TOKENS = ("presence_penalty", "frequency_penalty", "bad_words")


class Said:
    """What a client has been told of one answer, token by token, by one server after another."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._prompt_ids: tuple[int, ...] = ()
        self._ids = array("q")
        self._text = StringIO()
        self._ids_since = 0
        self._text_since = 0
        self._held: list[Delta] = []
        self._before = 0
        self._traceable = prompt.identified
        self._plain = True
        self.begun = False
        self.finished = False

    @property
    def ids(self) -> Sequence[int]:
        """The token ids of all that was told, where it could be gone on with."""
        return self._ids

    @property
    def stretches(self) -> Sequence[tuple[int, str]]:
        """Where in the ids a text begins that goes to their end: all that was told; and what was told since the last
        delta that had tokens but no words, such as a special token that is not shown."""
        text = self._text.getvalue()
        return (0, text), (self._ids_since, text[self._text_since :])

    def told(self, delta: Delta) -> Sequence[Delta | Finish]:
        """What to pass on now: a delta without a word waits for the next that has one; an answer opens once."""
        if self._before and is_opening(delta):
            return []
        if not self._prompt_ids:
            self._prompt_ids = tuple(delta.reply.get("prompt_token_ids") or ())
        passed = [*self._held, self._counted(delta) if self._before else delta]
        if not speaks(delta):
            self._held = passed
            return []
        self.begun = True
        self._held = []
        for one in passed:
            self._take(one)
        return passed

    def ended(self, finish: Finish) -> list[Delta | Finish]:
        """What is left to pass on, and the finish as one server would have reported the whole answer."""
        if not self._before or finish.usage is None:
            return [*self._held, finish]
        usage = Usage(len(self._prompt_ids), self._before + finish.usage.completion_tokens, finish.usage.estimated)
        return [
            *self._held,
            structs.replace(finish, usage=usage, reported={**(finish.reported or {}), **wire_usage(usage)}),
        ]

    def continuation(self) -> Continuation:
        """How true the rest of the answer can be to what an undisturbed server would have written."""
        fields, limit = self._prompt.fields, self._prompt.length_limit
        if not (self._traceable and self._plain and self._prompt_ids and may_go_on(self._prompt)):
            return "impossible"
        if limit is not None and limit <= self._prompt.shown_tokens + len(self._ids):
            return "impossible"
        counts = any(fields.get(name) for name in COUNTS_WRITTEN_TOKENS)
        return "exact" if self._prompt.is_greedy and not counts else "inexact"

    def rest_of_prompt(self, kept: int) -> Prompt:
        """What to ask another server for, after the first `kept` of the told token ids, which are all that was told."""
        del self._ids[kept:]
        self._held = []
        self._before = kept
        return self._prompt.going_on(Written(self._prompt_ids, tuple(self._ids), self._prompt.shown_tokens))

    def _take(self, delta: Delta) -> None:
        for piece in delta.pieces:
            self.finished = self.finished or piece.finish_reason is not None
            if self._traceable:
                self._trace(piece)

    def _trace(self, piece: Piece) -> None:
        text, ids, characters = piece.message.get("content") or "", piece.token_ids, piece.characters
        self._traceable = bool(ids or not characters)
        self._plain = self._plain and characters == len(text)
        self._ids.extend(ids)
        self._text.write(text)
        if ids and not characters:
            self._ids_since, self._text_since = len(self._ids), self._text.tell()

    def _counted(self, delta: Delta) -> Delta:
        """With the usage so far, where the client wants it in every chunk, as one server would have counted it."""
        written = (delta.reply.get("usage") or {}).get("completion_tokens")
        if not isinstance(written, int):
            return delta
        usage = wire_usage(Usage(len(self._prompt_ids), self._before + written))
        return delta._replace(reply={**delta.reply, "usage": usage})


def may_go_on(prompt: Prompt) -> bool:
    """Whether an answer to this may be gone on with in its middle: it is one free text in a conversation (only that
    takes its beginning as token ids beside itself), and nothing bars it."""
    if prompt.form != "chat":
        return False
    barred = prompt.choices > 1 or prompt.constrains or any(prompt.fields.get(name) for name in BARS_RESUMING)
    return not barred and is_text_alone(prompt.fields.get("messages"))


def speaks(delta: Delta) -> bool:
    """Whether a delta has words, or ends an answer."""
    return delta.ends or any(map(CHARACTERS, delta.pieces))


def is_opening(delta: Delta) -> bool:
    """Whether a delta only announces an answer."""
    return not any(piece.characters or piece.finish_reason or piece.token_ids for piece in delta.pieces)


def is_text_alone(messages: Json) -> bool:
    """Whether a conversation has nothing but text: vLLM renders other kinds anew, whatever token ids it is given."""
    return all(isinstance(part, Mapping) and part.get("type") == "text" for part in parts_of(messages))


def wire_usage(usage: Usage) -> WireUsage:
    """In OpenAI's words."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
