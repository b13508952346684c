"""What a client of the Responses API reads: the model's answer as one response, or as the events of its writing."""

import time
from collections.abc import Mapping, Sequence
from typing import Literal

from models.answer import Delta, Finish
from models.prompt import Prompt
from models.wire import JsonObject
from router.outcome import Outcome
from server.bill import CACHE_WRITES, counted_in, usage_of
from server.doors.events import event, written
from server.doors.responses_output import Output
from server.doors.responses_written import Told
from server.errors import Problem, openai_error

Ending = Literal["completed", "incomplete"]

WHOLE = (None, "stop", "tool_calls", "function_call")
WHY_INCOMPLETE: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
LOWEST_SERVER_ERROR = 500


class ResponsesWriter:
    """Writes one response; `echo` is what is known of it before the answer."""

    def __init__(self, prompt: Prompt, echo: JsonObject) -> None:
        self._prompt = prompt
        self._echo = echo
        self._output = Output(prompt.request_id, prompt.top_logprobs if prompt.wants_logprobs else None)
        self._finish_reason: str | None = None
        self._service_tier: object = None
        self._told = 0

    @property
    def id(self) -> str:
        """The response's."""
        return str(self._echo["id"])

    def whole(self, delta: Delta, finish: Finish, outcome: Outcome) -> bytes:
        """A response: the fold of its events, which nobody hears of here."""
        self._take(delta)
        self._output.close(self._ending)
        return written(self._finished(finish, outcome))

    def chunk(self, delta: Delta, outcome: Outcome) -> bytes:  # noqa: ARG002 - the decision is told at the end
        """The events of one piece; the first one opens the stream."""
        opening = b"" if self._told else self._opening()
        return opening + self._events(self._take(delta))

    def ending(self, finish: Finish, outcome: Outcome) -> bytes:
        """What is open ends, and the response is whole."""
        events = self._events(self._output.close(self._ending))
        response = self._finished(finish, outcome)
        return events + self._events([Told(f"response.{self._ending}", {"response": response})])

    def broken(self, problem: Problem) -> bytes:
        """The response failed, with what was written of it. OpenAI's clients raise at the error event, not before."""
        opening = b"" if self._told else self._opening()
        response = self._response("failed", error=error_of(problem))
        error: dict[str, object] = {
            **openai_error(problem),
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
        }
        return opening + self._events([Told("response.failed", {"response": response}), Told("error", error)])

    @property
    def _ending(self) -> Ending:
        return "completed" if self._finish_reason in WHOLE else "incomplete"

    def _take(self, delta: Delta) -> list[Told]:
        told: list[Told] = []
        for piece, choice in zip(delta.pieces, delta.reply["choices"], strict=True):
            if piece.finish_reason is not None:
                self._finish_reason = piece.finish_reason
                self._service_tier = {**delta.reply}.get("service_tier")
            tokens = (choice.get("logprobs") or {}).get("content") if self._prompt.wants_logprobs else None
            told += self._output.add(piece, tokens or ())
        return told

    def _opening(self) -> bytes:
        response = self._response("in_progress")
        return self._events([Told(f"response.{name}", {"response": response}) for name in ("created", "in_progress")])

    def _events(self, told: Sequence[Told]) -> bytes:
        events = [
            b"event: " + kind.encode() + b"\n" + event({"type": kind, "sequence_number": number, **fields})
            for number, (kind, fields) in enumerate(told, self._told)
        ]
        self._told += len(told)
        return b"".join(events)

    def _finished(self, finish: Finish, outcome: Outcome) -> dict[str, object]:
        usage = response_usage(usage_of(finish, outcome, self._prompt))
        if self._ending == "completed":
            return self._response("completed", completed_at=int(time.time()), usage=usage)
        reason = WHY_INCOMPLETE.get(self._finish_reason or "")
        return self._response("incomplete", incomplete_details={"reason": reason}, usage=usage)

    def _response(self, status: str, **known: object) -> dict[str, object]:
        return {
            **self._echo,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": self._output.items(),
            "service_tier": self._service_tier,
            "usage": None,
            **known,
        }


def error_of(problem: Problem) -> dict[str, object]:
    """Why a response failed; OpenAI's codes for that are few, the error event has ours."""
    code = "server_error" if problem.status >= LOWEST_SERVER_ERROR else "invalid_prompt"
    return {"code": code, "message": problem.message, "type": problem.type, "param": problem.param}


def response_usage(usage: Mapping[str, object]) -> dict[str, object]:
    """Chat's usage under the names of a response; 0 is also what its server did not say."""
    given, made = number(usage.get("prompt_tokens")), number(usage.get("completion_tokens"))
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": counted_in(usage, "prompt_tokens_details", "cached_tokens"),
            "cache_write_tokens": counted_in(usage, "prompt_tokens_details", *CACHE_WRITES),
        },
        "output_tokens": made,
        "output_tokens_details": {
            "reasoning_tokens": counted_in(usage, "completion_tokens_details", "reasoning_tokens")
        },
        "total_tokens": given + made,
        "smallfirst": usage["smallfirst"],
    }


def number(value: object) -> int:
    """A number of tokens."""
    return value if isinstance(value, int) else 0
