"""Why somebody may not ask, in the words of OpenAI's errors, and by which reason it is counted."""

from dataclasses import replace
from typing import Literal

from server.errors import RequestError

Reason = Literal[
    "no-key", "bad-key", "unknown-key", "expired", "several-keys", "bad-token", "no-allowance", "unreadable", "host",
    "model", "mode", "admin",
]  # fmt: skip

INVALID = "invalid_api_key"
RETRY_S = 1


class NotAllowed(RequestError):
    """Who asks may not, or not this."""

    def __init__(
        self, reason: Reason, message: str, *, status: int = 401, code: str | None = INVALID, param: str | None = None
    ) -> None:
        super().__init__(message, param=param, status=status, code=code)
        self.reason = reason


def forbidden(reason: Reason, message: str, *, code: str | None, param: str | None = None) -> NotAllowed:
    """Who asks is known, and may not do this."""
    return NotAllowed(reason, message, status=403, code=code, param=param)


def unreadable(message: str) -> NotAllowed:
    """Whether somebody may ask cannot be told now."""
    refusal = NotAllowed("unreadable", message, status=503, code="keys_unreadable")
    refusal.problem = replace(refusal.problem, type="server_error", retry_after_s=RETRY_S)
    return refusal
