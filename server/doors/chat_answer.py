"""What a client reads: the model's replies and chunks with our id, model and usage, less what it did not ask for."""

from collections.abc import Callable
from dataclasses import dataclass

from models.answer import Delta, Finish
from models.parsing import usage_of as usage_so_far
from models.prompt import Prompt
from models.wire import WireChoice, WireLogprobs, WireReply
from router.outcome import Outcome
from server.bill import answered, decision, usage_of
from server.doors.events import event, written
from server.errors import Problem, openai_error

DONE = b"data: [DONE]\n\n"


def shown_choice(choice: WireChoice, prompt: Prompt) -> dict[str, object]:
    """A choice with the evidence that the client asked for, and no other."""
    return with_evidence(choice, prompt, chat_logprobs)


def with_evidence(
    choice: WireChoice, prompt: Prompt, as_asked: Callable[[WireLogprobs, int], dict[str, object]]
) -> dict[str, object]:
    """The same; `as_asked` cuts log-probabilities down to so many alternatives."""
    shown: dict[str, object] = {**choice}
    if not prompt.wants_token_ids:
        shown.pop("token_ids", None)
    if not prompt.wants_logprobs:
        shown["logprobs"] = None
    elif (logprobs := choice.get("logprobs")) and not prompt.fields.get("logprob_token_ids"):
        shown["logprobs"] = as_asked(logprobs, prompt.top_logprobs)
    return shown


def chat_logprobs(logprobs: WireLogprobs, most: int) -> dict[str, object]:
    """With as many alternatives a token as were asked for."""
    tokens = [{**token, "top_logprobs": (token.get("top_logprobs") or [])[:most]}
              for token in logprobs.get("content") or ()]  # fmt: skip
    return {**logprobs, "content": tokens}


@dataclass(frozen=True, slots=True)
class ChatWriter:
    """A chat completion, or its chunks; holds what is the same in all of them. A text completion differs in the kind of
    its chunks and in what a choice is made of."""

    id: str
    created: int
    model: str
    prompt: Prompt
    kind: str = "chat.completion.chunk"
    shown: Callable[[WireChoice, Prompt], dict[str, object]] = shown_choice

    def whole(self, delta: Delta, finish: Finish, outcome: Outcome) -> bytes:
        """A chat completion."""
        return written({**self._reply(delta.reply), "usage": usage_of(finish, outcome, self.prompt)})

    def chunk(self, delta: Delta, outcome: Outcome) -> bytes:
        """One event of a stream; the usage has an event of its own, at the end. Where the client does not want that, a
        decision that fell after the headers is told with the last piece."""
        reply = self._reply(delta.reply)
        if outcome.shown_tokens and (usage := usage_so_far(delta.reply.get("usage"))) is not None:
            reply["usage"] = answered(usage, delta.reply.get("usage"), outcome)
        if not self.prompt.wants_usage:
            reply.pop("usage", None)
            if outcome.opened and any(piece.finish_reason for piece in delta.pieces):
                reply["smallfirst"] = decision(outcome)
        return event(reply)

    def ending(self, finish: Finish, outcome: Outcome) -> bytes:
        """The usage, for a client that asked for it, and the end."""
        return (self._usage_chunk(finish, outcome) if self.prompt.wants_usage else b"") + DONE

    def broken(self, problem: Problem) -> bytes:
        """An error event; nothing follows it."""
        return event(openai_error(problem))

    def _usage_chunk(self, finish: Finish, outcome: Outcome) -> bytes:
        return event(
            {
                **(finish.chunk or {}),
                "id": self.id,
                "object": self.kind,
                "created": self.created,
                "model": self.model,
                "choices": [],
                "usage": usage_of(finish, outcome, self.prompt),
            }
        )

    def _reply(self, reply: WireReply) -> dict[str, object]:
        shown: dict[str, object] = {**reply}
        shown["id"], shown["created"], shown["model"] = self.id, self.created, self.model
        shown["choices"] = [self.shown(choice, self.prompt) for choice in reply["choices"]]
        if not self.prompt.wants_token_ids:
            shown.pop("prompt_token_ids", None)
        return shown
