"""Errors in Anthropic's shape: in a body, or as the data of a stream's error event."""

from models.wire import JsonObject
from server.errors import Problem

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
OVERLOADED = "overloaded_error"
LOWEST_FAILURE = 500


def anthropic_error(problem: Problem) -> JsonObject:
    """The error, with the request's id where it is known."""
    error: JsonObject = {"type": type_of(problem), "message": problem.message}
    return {"type": "error", "error": error, "request_id": problem.request_id}


def type_of(problem: Problem) -> str:
    """Anthropic's name for this kind of error; it goes by the status."""
    if problem.type == OVERLOADED:
        return OVERLOADED
    return TYPES.get(problem.status, "api_error" if problem.status >= LOWEST_FAILURE else "invalid_request_error")
