"""Limits kept in this process, without I/O. What other processes have spent, before it or beside it, it is told."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from server.access.caller import Allowance
from server.limits.account import Account, Others, is_unbudgeted, lately
from server.limits.holding import Hold, limited, rates_of, unavailable
from server.limits.standing import Amount, Moment, moment_of

SWEEP_S = 60.0
IDLE_S = 600.0

Now = Callable[[], Moment]


def now() -> Moment:
    """By this machine's clocks."""
    return moment_of(time.monotonic(), time.time())


class Kept(Protocol):
    """What is kept of one caller."""

    def is_idle(self, moment: Moment) -> bool:
        """Whether nothing would be lost with it."""
        ...

    def forget(self, moment: Moment) -> None:
        """Leave out what is over."""
        ...


Entry = TypeVar("Entry", bound=Kept)


class Accounts(Generic[Entry]):
    """What is kept of all callers that have limits, by their ids; that of which nothing would be lost goes after a
    while."""

    def __init__(self, opened: Callable[[str], Entry]) -> None:
        self._opened = opened
        self._of: dict[str, Entry] = {}
        self._seen_s: dict[str, float] = {}
        self._swept_s = 0.0

    def of(self, caller: str, moment: Moment) -> Entry:
        """The caller's."""
        self._sweep(moment)
        self._seen_s[caller] = moment.clock_s
        if caller not in self._of:
            self._of[caller] = self._opened(caller)
        return self._of[caller]

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._of.values()))

    def known(self, caller: str) -> Entry | None:
        """The caller's, if there is one."""
        return self._of.get(caller)

    def __len__(self) -> int:
        return len(self._of)

    def _sweep(self, moment: Moment) -> None:
        if moment.clock_s - self._swept_s < SWEEP_S:
            return
        self._swept_s = moment.clock_s
        for caller, account in list(self._of.items()):
            account.forget(moment)
            if moment.clock_s - self._seen_s[caller] > IDLE_S and account.is_idle(moment):
                del self._of[caller], self._seen_s[caller]


class MemoryLimiter:
    """For one gateway. Where it is to be told what was spent before, callers with a budget are refused when it was not
    within `alone_s` of its beginning; until then it goes by what it knows. None: there is nobody to tell it."""

    def __init__(self, now: Now = now, *, alone_s: float | None = None) -> None:
        self.accounts = Accounts(self._opened)
        self.told = asyncio.Event()
        self._others: dict[str, Others] = {}
        self._now = now
        self._until_s = None if alone_s is None else now().clock_s + alone_s

    async def reserve(self, caller: str, allowance: Allowance, wanted: Amount) -> Hold:
        """Take so much from what the caller may take. Raises Limited."""
        moment, wanted = self._now(), wanted.bounded()
        if self._until_s is not None and moment.clock_s > self._until_s and not is_unbudgeted(allowance):
            raise unavailable()
        account = self.accounts.of(caller, moment)
        refused = account.take(allowance, wanted, moment)
        rates = rates_of(account, allowance)
        if refused is not None:
            raise limited(refused, rates)

        def over(spent: Amount, counts: bool) -> None:
            account.end(wanted, spent, moment)
            if not counts:
                account.never_was()

        return Hold(rates, over)

    def heard(self, spent: Mapping[str, Mapping[str, int]]) -> None:
        """This is what other processes have spent for these callers, by their ids, by day and by month in billionths;
        for others it is as before, or nothing."""
        moment = self._now()
        for caller, lately_spent in spent.items():
            known = self._others.get(caller, Others())
            self._others[caller] = others = Others(spent=lately({**known.spent, **lately_spent}, moment))
            account = self.accounts.known(caller)
            if account is not None:
                account.heard(others)
        self._until_s = None
        self.told.set()

    def _opened(self, caller: str) -> Account:
        return Account(others=self._others.get(caller, Others()))
