"""The scripts that keep callers' accounts in Redis (reserve.lua, leave.lua): what is told them, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from typing import Protocol

from server.access.caller import Allowance
from server.limits.account import Account, Others
from server.limits.standing import Amount, Moment, Standing, nanos_of


def source(name: str) -> str:
    """A script."""
    return files("server.limits").joinpath(f"{name}.lua").read_text(encoding="utf-8")


class Scripts(Protocol):
    """Runs them."""

    async def reserve(self, keys: Sequence[str], told: Sequence[str | float]) -> Sequence[bytes | int]:
        """What it returns. Raises StoreDown."""
        ...

    async def leave(self, key: str, me: str) -> None:
        """Nothing more will be told under this name. Raises StoreDown."""
        ...


class StoreDown(Exception):
    """Redis does not answer, or not in time, or refuses."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one gateway says of one caller: who says it, for the how manieth time, what is not told yet of requests and
    tokens of the minute, what a request wants (None: nothing is wanted), and for how long it is known what it holds."""

    me: str
    version: int
    account: Account
    allowance: Allowance
    owed_requests: float
    owed_tokens: float
    wanted: Amount | None
    held_s: float

    def arguments(self, day: str, month: str) -> list[str | float]:
        """As the script reads them."""
        account, allowance = self.account, self.allowance
        wanted = self.wanted or Amount()
        return [
            self.me, self.version, account.running, account.held, account.spent.get(day, 0),
            account.spent.get(month, 0), self.held_s * 1000, limit(allowance.requests_per_minute),
            limit(allowance.tokens_per_minute), limit(allowance.streams_at_once), budget(allowance.cost_per_day),
            budget(allowance.cost_per_month), self.owed_requests, self.owed_tokens, int(self.wanted is not None),
            wanted.tokens, wanted.nanos,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heard:
    """What the script says: whether the request may have what it wants, and how things stood before that."""

    allowed: bool
    requests: float
    tokens: float
    others: Others

    def standing(self, account: Account, moment: Moment) -> Standing:
        """Of all gateways."""
        others, spent = self.others, account.spent
        return Standing(
            self.requests,
            self.tokens,
            others.running + account.running,
            others.held + account.held,
            others.spent.get(moment.day, 0) + spent.get(moment.day, 0),
            others.spent.get(moment.month, 0) + spent.get(moment.month, 0),
        )


def heard(said: Sequence[bytes | int], day: str, month: str) -> Heard:
    """The script's words."""
    requests, tokens, running, held, of_day, of_month = map(float, said[1:])
    others = Others(int(running), int(held), {day: int(of_day), month: int(of_month)})
    return Heard(said[0] == 1, requests, tokens, others)


def keys_of(caller: str, day: str, month: str) -> list[str]:
    """All of one caller, on one node of a cluster."""
    return [key_of(caller, "rates"), key_of(caller, "held"), spent_key(caller, day), spent_key(caller, month)]


def spent_key(caller: str, period: str) -> str:
    """Of one caller's day or month."""
    return key_of(caller, f"spent:{period}")


def key_of(caller: str, part: str) -> str:
    """Of a part of what is kept of a caller. Its id is not among the words, it may be anything."""
    name = blake2b(caller.encode(errors="replace"), digest_size=16).hexdigest()
    return f"smallfirst:{{{name}}}:{part}"


def limit(count: int | None) -> int:
    """As the script reads it: below 0 is none."""
    return -1 if count is None else count


def budget(cost: float | None) -> int:
    """The same, in billionths."""
    return -1 if cost is None else nanos_of(cost)
