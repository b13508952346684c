"""The one table from what went wrong to what a client sees: status, OpenAI type and code."""

from dataclasses import dataclass

from models.errors import (
    BadReply,
    CapabilityMiss,
    Misconfigured,
    ModelError,
    Overloaded,
    TimedOut,
    Unreachable,
)
from models.wire import JsonObject

RETRY_AFTER_S = 1
UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client gets it; each door has its own shape for it."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retry_after_s: int | None = None
    request_id: str | None = None
    more_headers: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        wait = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        who = {"www-authenticate": "Bearer"} if self.status == UNAUTHORIZED else {}
        return {**wait, **who, **dict(self.more_headers)}


def openai_error(problem: Problem) -> JsonObject:
    """In OpenAI's shape: the JSON body, or the data of a stream's error event."""
    return {"error": {"message": problem.message, "type": problem.type, "param": problem.param, "code": problem.code}}


class RequestError(Exception):
    """The client's own mistake, or a wish that is not served."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(status, message, "invalid_request_error", code, param)


DEADLINE = Problem(504, "no answer within the gateway's deadline", "timeout_error", "deadline_exceeded")
INTERNAL = Problem(500, "the gateway failed; its log says why", "server_error", "internal_error")


def problem_of(error: ModelError) -> Problem:
    """What the final tier's failure looks like from outside. The servers' addresses and keys stay inside."""
    match error:
        case CapabilityMiss():
            return Problem(400, str(error), "invalid_request_error", error.code, error.param)
        case Overloaded():
            wait_s = error.retry_after_s or RETRY_AFTER_S
            return Problem(503, "the model is overloaded: try again", "overloaded_error", "overloaded", None, wait_s)
        case TimedOut():
            return Problem(504, "the model took too long to answer", "timeout_error", "model_timeout")
        case Misconfigured():
            return Problem(
                502, "the gateway's model is misconfigured: tell its operator", "server_error", "model_misconfigured"
            )
        case BadReply():
            return Problem(502, "the model's server sent a broken answer", "server_error", "bad_model_reply")
        case Unreachable():
            return Problem(
                503, "the model's server cannot be reached", "server_error", "model_unreachable", None, RETRY_AFTER_S
            )
        case _:
            return INTERNAL


def status_problem(status: int) -> Problem:
    """What routing itself refuses: an unknown path or a wrong method."""
    match status:
        case 404:
            return Problem(
                404, "there is no such path; see docs for what is served", "invalid_request_error", "not_found"
            )
        case 405:
            return Problem(405, "this path does not take that method", "invalid_request_error", "method_not_allowed")
        case _:
            return Problem(status, "the request was refused", "invalid_request_error")
