"""The servers of one tier as one model: who is asked, who is asked instead, and who goes on where one dies."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from models.addresses import Resolve, expanded, look_up
from models.answer import Delta, Finish
from models.endpoint import Endpoint
from models.errors import (
    BadReply,
    CapabilityMiss,
    Disconnected,
    Misconfigured,
    ModelError,
    Overloaded,
    TimedOut,
    Unreachable,
)
from models.picking import Candidate, pick, worth_it
from models.prompt import Prompt
from models.replica import Replica
from models.resuming import OnBrokenStream, Said

ANOTHER_MAY_DO_BETTER = (BadReply, Misconfigured, Overloaded, TimedOut, Unreachable)
MAX_TRIES = 2
PROBE_EVERY_S = 2.0
PROBE_LOST_EVERY_S = 0.5
RESOLVE_EVERY_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What an operator decides for a tier: whether a broken stream may go on where the rest cannot be exact, and up to
    how many tokens a step of the engine costs no more than a step of one (speculation beside plain servers)."""

    on_broken_stream: OnBrokenStream = "resume"
    saturation_tokens: int = 256


class Pool:
    """A tier's replicas: those that `endpoints` name, and as many for a name as it has addresses. `connect` makes a
    replica; `retried` and `resumed` count calls that another server took over before and after their first word."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        connect: Callable[[Endpoint], Replica],
        *,
        rules: PoolRules = PoolRules(),
        resolve: Resolve = look_up,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._connect = connect
        self._rules = rules
        self._resolve = resolve
        self.replicas = tuple(map(connect, self._endpoints))
        self.retried = 0
        self.resumed = 0

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As `Model.generate`. Before the first word a failure is tried once more, on another server if there is one
        that can; after it, a stream goes on from another server where that is possible, and allowed.

        A lone server is tried again only where the connection broke before it said anything.
        """
        asking, tried = self._identified(prompt), list[Replica]()
        said = Said(asking)
        while True:
            replica = self._choose(asking, tried)
            tried.append(replica)
            try:
                async with aclosing(replica.generate(asking)) as parts:
                    async for part in parts:
                        for passed in said.told(part) if isinstance(part, Delta) else said.ended(part):
                            yield passed
                return
            except ModelError as failed:
                asking = self._instead(asking, said, tried, failed)

    async def resolve(self) -> None:
        """Look the servers' names up; a name that is not known just now keeps the addresses that it had."""
        found = await asyncio.gather(*map(self._addresses, self._endpoints))
        wanted = dict.fromkeys(endpoint for endpoints in found for endpoint in endpoints)
        known = {replica.endpoint: replica for replica in self.replicas}
        if wanted.keys() != known.keys():
            self.replicas = tuple(known.get(endpoint) or self._connect(endpoint) for endpoint in wanted)
            log.info("servers changed", servers=[endpoint.name for endpoint in wanted])

    async def watch(self) -> None:
        """Keep names, abilities and loads up to date, until cancelled."""
        async with asyncio.TaskGroup() as group:
            watched: dict[Replica, asyncio.Task[None]] = {}
            while True:
                await self.resolve()
                for gone in watched.keys() - set(self.replicas):
                    watched.pop(gone).cancel()
                for replica in self.replicas:
                    if replica not in watched:
                        watched[replica] = group.create_task(probe_forever(replica))
                await asyncio.sleep(RESOLVE_EVERY_S)

    async def is_up(self) -> bool:
        """Whether any server answers."""
        return any(await asyncio.gather(*(replica.is_up() for replica in self.replicas)))

    @property
    def takes_handover(self) -> bool:
        """Whether a server that may be asked verifies drafts that it is handed."""
        return any(replica.abilities.speculation == "handover" and replica.may_be_asked for replica in self.replicas)

    def _identified(self, prompt: Prompt) -> Prompt:
        """With token ids, where a broken stream could go on elsewhere."""
        return prompt.drafted() if prompt.streams and len(self.replicas) > 1 else prompt

    def _choose(self, prompt: Prompt, tried: Sequence[Replica]) -> Replica:
        """Who is asked next. Raises Unreachable where nobody can be, CapabilityMiss where nobody takes the request."""
        others = [replica for replica in self.replicas if replica not in tried] or list(tried)
        able = [replica for replica in others if replica.takes(prompt)]
        barred = prompt.bars_speculation
        if not able and barred and any(replica.abilities.speculates for replica in others):
            raise CapabilityMiss(f"{barred}: no server of the model takes it: all of them speculate", param=barred)
        asked = [replica for replica in able or others if replica.may_be_asked]
        if not asked:
            raise Unreachable("no server of the tier is to be asked just now: all of them failed or sleep")
        return asked[0] if len(asked) == 1 else pick(self._preferred(asked, prompt), prompt.conversation).server

    def _preferred(self, replicas: Sequence[Replica], prompt: Prompt) -> Sequence[Candidate[Replica]]:
        """Those that answer soonest at their load: who verifies drafts is of use to a request that has one, who drafts
        by itself to one that has none."""
        candidates = [candidate_of(replica) for replica in replicas]
        idle = "handover" if prompt.handover is None else "drafter"
        useful = [one for one in candidates if one.speculation != idle]
        return worth_it(useful or candidates, self._rules.saturation_tokens)

    def _instead(self, asked: Prompt, said: Said, tried: list[Replica], failed: ModelError) -> Prompt:
        """What to ask another server for after a failure; raises the failure where that would be no use."""
        if said.begun:
            return self._resumed(said, tried, failed)
        alone = len(self.replicas) == 1
        another = isinstance(failed, Disconnected) if alone else self._may_do_better(tried, failed)
        if not another or len(tried) >= MAX_TRIES:
            raise failed
        self.retried += 1
        return asked

    def _may_do_better(self, tried: Sequence[Replica], failed: ModelError) -> bool:
        if isinstance(failed, CapabilityMiss):
            return any(is_abler(replica, tried[-1]) for replica in self.replicas if replica not in tried)
        return isinstance(failed, ANOTHER_MAY_DO_BETTER)

    def _resumed(self, said: Said, tried: list[Replica], failed: ModelError) -> Prompt:
        continuation = said.continuation()
        allowed = continuation == "exact" or (continuation == "inexact" and self._rules.on_broken_stream == "resume")
        if not isinstance(failed, ANOTHER_MAY_DO_BETTER) or not allowed or len(tried) >= len(self.replicas) + 1:
            raise failed
        log.warning("stream goes on elsewhere", server=tried[-1].endpoint.name, continuation=continuation)
        self.resumed += 1
        return said.rest_of_prompt()

    async def _addresses(self, endpoint: Endpoint) -> Sequence[Endpoint]:
        try:
            found = await expanded(endpoint, self._resolve)
        except OSError:
            found = ()
        had = [replica.endpoint for replica in self.replicas if replica.endpoint.url == endpoint.url]
        return found or had


async def probe_forever(replica: Replica) -> None:
    """Ask a server again and again how it is, sooner while it is lost."""
    while True:
        try:
            await replica.probe()
        except Exception:  # the top of its task: a server that answers nonsense is asked again
            log.exception("probe failed", server=replica.endpoint.name)
        await asyncio.sleep(PROBE_EVERY_S if replica.breaker.state == "closed" else PROBE_LOST_EVERY_S)


def candidate_of(replica: Replica) -> Candidate[Replica]:
    """A server as the picker sees it."""
    return Candidate(
        replica,
        replica.endpoint.name,
        load=replica.running + replica.others,
        full=replica.is_full,
        speculation=replica.abilities.speculation,
        tokens_a_step=replica.acceptance.tokens_a_step,
        at_once=replica.acceptance.at_once,
    )


def is_abler(replica: Replica, than: Replica) -> bool:
    """Whether a server may take a request that another one refused."""
    longer = (replica.abilities.context_tokens or 0) > (than.abilities.context_tokens or 0)
    return longer or (than.abilities.speculates and not replica.abilities.speculates)
