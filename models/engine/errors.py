"""What can go wrong, in our words, and how vLLM puts it to a client."""

from collections.abc import Mapping
from typing import Final


class EngineError(Exception):
    """Base of all that a client may be told; `param` names the field at fault, if one is."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Malformed(EngineError):
    """The body is not JSON, or a field has the wrong type."""


class Refused(EngineError):
    """The body is well formed and asks for what cannot be done."""


class UnknownModel(EngineError):
    """Another model than the served one was named."""


class Overloaded(EngineError):
    """Too many requests wait already."""


class Stopping(EngineError):
    """The engine shuts down before the answer is complete."""


class StepFailed(EngineError):
    """The model failed while it wrote the answer."""


class ClientLeft(EngineError):
    """Nobody waits for the answer any more."""


class StartError(Exception):
    """The engine cannot start as told."""


_STATUS_AND_TYPE: Final[Mapping[type[EngineError], tuple[int, str]]] = {
    Malformed: (400, "Bad Request"),
    Refused: (400, "BadRequestError"),
    UnknownModel: (404, "NotFoundError"),
    Overloaded: (503, "Service Unavailable"),
    Stopping: (503, "Service Unavailable"),
    ClientLeft: (499, "ClientClosedRequest"),
}


def wire(error: EngineError) -> tuple[int, dict[str, object]]:
    """HTTP status and body."""
    status, kind = _STATUS_AND_TYPE.get(type(error), (500, "InternalServerError"))
    return status, {"error": {"message": error.message, "type": kind, "param": error.param, "code": status}}
