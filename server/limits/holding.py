"""What is reserved for one request until it is over, and what its client is told of the limits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from server.access.caller import Allowance
from server.errors import Problem, RequestError
from server.limits.standing import MINUTE_S, NOTHING, Amount, Refusal, RefusalReason

RateName = Literal["requests", "tokens"]


class Rate(Struct, frozen=True):
    """A limit a minute: how much of it is left, and in how many seconds all of it would be."""

    name: RateName
    limit: int
    remaining: int
    reset_s: float


class Taken(Protocol):
    """Requests and tokens that still count against the minute."""

    @property
    def requests(self) -> float:
        """So many."""
        ...

    @property
    def tokens(self) -> float:
        """So many."""
        ...


def rates_of(taken: Taken, allowance: Allowance) -> list[Rate]:
    """Those that a caller has."""
    given: tuple[tuple[RateName, float, int | None], ...] = (
        ("requests", taken.requests, allowance.requests_per_minute),
        ("tokens", taken.tokens, allowance.tokens_per_minute),
    )
    return [rate_of(name, used, limit) for name, used, limit in given if limit is not None]


def rate_of(name: RateName, used: float, limit: int) -> Rate:
    """One of them."""
    return Rate(name, limit, max(0, int(limit - used)), used * MINUTE_S / limit if limit else MINUTE_S)


def rate_headers(rates: Sequence[Rate]) -> dict[str, str]:
    """As OpenAI names and writes them."""
    headers: dict[str, str] = {}
    for rate in rates:
        headers[f"x-ratelimit-limit-{rate.name}"] = str(rate.limit)
        headers[f"x-ratelimit-remaining-{rate.name}"] = str(rate.remaining)
        headers[f"x-ratelimit-reset-{rate.name}"] = duration(rate.reset_s)
    return headers


def duration(seconds: float) -> str:
    """As OpenAI writes it: `17ms`, `8.64s`, `1m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds / 1000, MINUTE_S)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


class Hold:
    """So much is reserved for a request. It is given back once, however often the end is said."""

    def __init__(self, rates: Sequence[Rate], over: Callable[[Amount, bool], None] | None) -> None:
        self.headers: Mapping[str, str] = rate_headers(rates)
        self._over = over

    @property
    def is_over(self) -> bool:
        """Whether its end was said."""
        return self._over is None

    def end(self, spent: Amount) -> None:
        """The request is over, and took so much."""
        self._end(spent, True)

    def undo(self) -> None:
        """The request was not begun, for a reason of ours: it counts for nothing."""
        self._end(NOTHING, False)

    def _end(self, spent: Amount, counts: bool) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(spent.bounded(), counts)


UNHELD = Hold((), None)


class Limiter(Protocol):
    """Keeps count of what callers take."""

    async def reserve(self, caller: str, allowance: Allowance, wanted: Amount) -> Hold:
        """Take so much from what the caller of that id may take. Raises Limited."""
        ...


WORDS: dict[RefusalReason, str] = {
    "at-once": "as many requests as this key may have at once are under way",
    "requests": "as many requests as this key may send in a minute have been sent",
    "tokens": "this request could take more tokens than this key has left in this minute",
    "day": "this request could cost more than is left of this key's budget for the day (UTC)",
    "month": "this request could cost more than is left of this key's budget for the month (UTC)",
}
NEVER: dict[RefusalReason, str] = {
    "at-once": "this key may have no requests",
    "requests": "this key may send no requests",
    "tokens": "this request could take more tokens than this key may take in a minute: ask for fewer by max_tokens",
    "day": "this request could cost more than this key's whole budget for a day: ask for less by max_tokens",
    "month": "this request could cost more than this key's whole budget for a month: ask for less by max_tokens",
}
WORTH_WAITING_S = 60
NO_RETRY = ("x-should-retry", "false")  # OpenAI's and Anthropic's clients read it


class Limited(RequestError):
    """The caller has no right to that much now; nothing was asked of a model."""

    def __init__(self, reason: str, problem: Problem) -> None:
        super().__init__(problem.message)
        self.reason = reason
        self.problem = problem


def limited(refused: Refusal, rates: Sequence[Rate]) -> Limited:
    """The error that a client gets."""
    wait_s, reason = refused.retry_after_s, refused.reason
    is_budget = reason in ("day", "month")
    message = NEVER[reason] if wait_s is None else f"{WORDS[reason]}: try again in {wait_s} s"
    kind = "insufficient_quota" if is_budget else "tokens" if reason == "tokens" else "requests"
    headers = rate_headers(rates)
    if wait_s is None or wait_s > WORTH_WAITING_S:
        headers |= [NO_RETRY]
    code = "insufficient_quota" if is_budget else "rate_limit_exceeded"
    return Limited(reason, Problem(429, message, kind, code, None, wait_s, more_headers=tuple(headers.items())))


def unavailable() -> Limited:
    """What a caller has left of its budgets cannot be known."""
    problem = Problem(
        503, "what is left of this key's budget cannot be told now: try again", "server_error", "limits_unavailable",
        None, 1,
    )  # fmt: skip
    return Limited("unavailable", problem)
