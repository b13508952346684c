"""What can go wrong with a model, in our words. Knows nothing of the status that a client will see."""

from typing import ClassVar, Literal

FailureReason = Literal["unreachable", "timeout", "overloaded", "bad-reply", "capability", "misconfigured"]


class ModelError(Exception):
    """A model gave no answer. `reason` names the kind in logs, metrics and headers."""

    reason: ClassVar[FailureReason]


class Unreachable(ModelError):
    """No connection, a connection that broke, or a server that failed."""

    reason = "unreachable"


class NoConnection(Unreachable):
    """No connection could be made."""

    reason = "unreachable"


class Disconnected(Unreachable):
    """The connection broke before the server said anything: an idle one may just have been closed."""


class TimedOut(ModelError):
    """A limit of the tier ran out: connect, first token, idle or total."""

    reason = "timeout"


class Overloaded(ModelError):
    """The server has no room; `retry_after_s` is its own word, where it gave one."""

    reason = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadReply(ModelError):
    """The server answered with something that is no chat completion, or stopped in the middle of one."""

    reason = "bad-reply"


class CapabilityMiss(ModelError):
    """The server takes no such request (400, 413 or 422); another tier may. `param` is what it blamed."""

    reason = "capability"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class Misconfigured(ModelError):
    """The server does not know our key or our model (401, 403 or 404): the operator's to mend, never the client's."""

    reason = "misconfigured"
