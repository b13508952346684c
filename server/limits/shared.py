"""Limits that several gateways keep together in Redis. While it does not answer, each goes on with what it knows."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from server.access.caller import Allowance
from server.limits.account import Others, is_unbudgeted
from server.limits.entry import Entry, refuse_unasked
from server.limits.holding import Hold, Rate, limited, rates_of, unavailable
from server.limits.memory import Accounts, Now, now
from server.limits.script import Heard, Scripts, StoreDown, Told, heard, keys_of, spent_key
from server.limits.standing import SOON_S, Amount, Moment, Refusal, Standing, refusal

HELD_S = 30.0
BEATS = 3  # a gateway is heard of so often in that time
RETRY_S = 1.0
LAST_WORDS_S = 2.0

log = structlog.get_logger()


class UpCounting(Protocol):
    """Is told whether Redis answers."""

    def store_is_up(self) -> None:
        """It does."""
        ...

    def store_is_down(self) -> None:
        """It does not."""
        ...


class SharedLimiter:
    """One gateway's part. Redis decides while it answers; else what this gateway knows, and after `alone_s` callers
    with a budget are refused. What it holds is known there for `held_s` after it was last heard of."""

    def __init__(
        self, scripts: Scripts, counting: UpCounting, *, alone_s: float, held_s: float = HELD_S, now: Now = now
    ) -> None:
        self._scripts = scripts
        self._counting = counting
        self._alone_s = alone_s
        self._held_s = held_s
        self._now = now
        self._entries = Accounts(Entry)
        self._changed = asyncio.Event()
        self._down_since_s: float | None = None

    async def reserve(self, caller: str, allowance: Allowance, wanted: Amount) -> Hold:
        """Take so much from what the caller may take. Raises Limited."""
        moment, wanted = self._now(), wanted.bounded()
        entry = self._entries.of(caller, moment)
        entry.allowance = allowance
        if self._is_up:  # else it may be asked just now, aside, for as long as its limit is
            refuse_unasked(entry, allowance, moment)
            entry.asking += 1
            try:
                async with entry.lock:
                    with suppress(StoreDown):
                        if self._is_up:
                            said = await self._said(entry, allowance, wanted, moment.day, moment.month)
                            return self._decided(entry, allowance, said, wanted, moment)
            finally:
                entry.asking -= 1
        return self._alone(entry, allowance, wanted, moment)

    async def run(self) -> None:
        """Tell Redis what has changed, and that this gateway still holds what it holds, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(RETRY_S, self._held_s / BEATS)):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.tell()
            except Exception:
                log.exception("limits not told")
            if not self._is_up:
                await asyncio.sleep(RETRY_S)

    async def end(self) -> None:
        """Tell what is left to tell, within reason; nothing is counted any more."""
        with suppress(TimeoutError, StoreDown):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.tell()
                for entry in self._entries:
                    for period in entry.account.spent if not entry.untold else ():
                        await self._scripts.leave(spent_key(entry.caller, period), entry.me)

    @property
    def _is_up(self) -> bool:
        return self._down_since_s is None

    def _decided(self, entry: Entry, allowance: Allowance, said: Heard, wanted: Amount, moment: Moment) -> Hold:
        account = entry.account
        standing = said.standing(account, moment)
        if not said.allowed:
            why = refusal(standing, allowance, wanted, moment) or Refusal("requests", SOON_S)
            refused = limited(why, rates_of(standing, allowance))
            entry.refused(refused, standing, allowance)
            raise refused
        account.standing(allowance, moment)
        account.took(wanted)
        left = Standing(said.requests + 1, said.tokens + wanted.tokens)
        return self._hold(entry, rates_of(left, allowance), wanted, moment)

    def _alone(self, entry: Entry, allowance: Allowance, wanted: Amount, moment: Moment) -> Hold:
        account = entry.account
        alone_s = 0.0 if self._down_since_s is None else moment.clock_s - self._down_since_s
        if alone_s > self._alone_s and not is_unbudgeted(allowance):
            raise unavailable()
        refused = account.take(allowance, wanted, moment)
        rates = rates_of(account.standing(allowance, moment), allowance)
        if refused is not None:
            raise limited(refused, rates)
        entry.owed_requests += 1
        entry.owed_tokens += wanted.tokens
        return self._hold(entry, rates, wanted, moment)

    def _hold(self, entry: Entry, rates: Sequence[Rate], wanted: Amount, moment: Moment) -> Hold:
        def over(spent: Amount, counts: bool) -> None:
            entry.over(wanted, spent, moment)
            if not counts:
                entry.never_was()
            self._changed.set()

        return Hold(rates, over)

    async def _said(
        self, entry: Entry, allowance: Allowance, wanted: Amount | None, day: str, month: str
    ) -> Heard:  # fmt: skip
        entry.version += 1
        entry.untold.discard((day, month))
        owed_requests, entry.owed_requests = entry.owed_requests, 0.0
        owed_tokens, entry.owed_tokens = entry.owed_tokens, 0.0
        told = Told(entry.me, entry.version, entry.account, allowance, owed_requests, owed_tokens, wanted, self._held_s)
        try:
            words = await self._scripts.reserve(keys_of(entry.caller, day, month), told.arguments(day, month))
        except BaseException as failed:
            entry.untold.add((day, month))  # it may have been heard: say it again
            if isinstance(failed, StoreDown):
                self._went_down(failed)
            raise
        said, entry.told_s = heard(words, day, month), self._now().clock_s
        spent = {**entry.account.others.spent, **said.others.spent}
        entry.account.heard(Others(said.others.running, said.others.held, spent))
        self._came_up()
        return said

    async def tell(self) -> None:
        """Tell Redis what has changed, if it answers."""
        moment = self._now()
        due = [entry for entry in self._entries if entry.is_due(moment, self._held_s / BEATS)]
        with suppress(StoreDown):
            if not due and not self._is_up:
                await self._said(Entry(""), Allowance(), None, moment.day, moment.month)
            for entry in due:
                await self._tell(entry, moment)

    async def _tell(self, entry: Entry, moment: Moment) -> None:
        async with entry.lock:
            for day, month in sorted(entry.untold) or [(moment.day, moment.month)]:
                await self._said(entry, entry.allowance, None, day, month)

    def _went_down(self, failed: StoreDown) -> None:
        if self._down_since_s is None:
            self._down_since_s = self._now().clock_s
            for entry in self._entries:
                entry.account.heard(Others(spent=entry.account.others.spent))  # what they hold now is not known
            self._counting.store_is_down()
            log.warning("limits store down", error=str(failed), alone_s=self._alone_s)

    def _came_up(self) -> None:
        if self._down_since_s is not None:
            log.warning("limits store up", down_s=round(self._now().clock_s - self._down_since_s, 1))
            self._down_since_s = None
            self._counting.store_is_up()
