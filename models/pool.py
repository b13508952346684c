"""The servers of one tier as one model: who is asked, who is asked instead, and who goes on where one dies."""

import asyncio
import contextlib
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
from models.picking import Candidate, pick, useful, worth_it
from models.prompt import Prompt
from models.replica import Replica
from models.resuming import OnBrokenStream, Said
from models.wire import JsonObject

ANOTHER_MAY_DO_BETTER = (BadReply, Misconfigured, Overloaded, TimedOut, Unreachable)
MAX_TRIES = 2
MAX_RESUMES = 2
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
        """As `Model.generate`. Before the first word a failure is tried again on another server, if there is one that
        can; after it, a stream goes on from another server where that is possible, and allowed.

        A lone server is tried again only where the connection broke before it said anything.
        """
        asking, tried = self._identified(prompt), list[Replica]()
        said = Said(asking)
        replica = self._choose(asking, self.replicas)
        while True:
            tried.append(replica)
            try:
                if not asking.streams:
                    for part in await replica.whole(asking):
                        yield part
                    return
                async with aclosing(replica.generate(asking)) as parts:
                    async for part in parts:
                        for passed in said.told(part) if isinstance(part, Delta) else said.ended(part):
                            yield passed
                return
            except ModelError as failed:
                if said.finished:
                    yield Finish(None)
                    return
                if said.begun:
                    replica, asking = await self._another_goes_on(said, asking, tried, failed)
                else:
                    replica, said = self._another(asking, tried, failed), Said(asking)

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
    def fingerprints(self) -> frozenset[str]:
        """What its servers say that they are, as far as they do."""
        return frozenset(filter(None, (replica.abilities.fingerprint for replica in self.replicas)))

    @property
    def likenesses(self) -> tuple[frozenset[str], ...]:
        """The same of each that may be asked; one may have several, where ties are broken one way or the other."""
        return tuple([one.recognition.alike for one in self.replicas if one.recognition.alike and one.may_be_asked])

    @property
    def pressure(self) -> float:
        """How far the tier is out of room, 0 to 1: of the server that has most, the share of its requests that wait, or
        1 where it said that it has no room. 1 where no server may be asked."""
        return min((replica.pressure for replica in self.replicas if replica.may_be_asked), default=1.0)

    @property
    def takes_handover(self) -> bool:
        """Whether a server that may be asked verifies drafts that it is handed."""
        return any(replica.abilities.speculation == "handover" and replica.may_be_asked for replica in self.replicas)

    @property
    def goes_on(self) -> bool:
        """Whether its servers can go on after another model's words."""
        return self.speaks_vllm

    @property
    def speaks_vllm(self) -> bool:
        """Whether its servers have what vLLM has beyond OpenAI's API."""
        return all(endpoint.dialect == "vllm" for endpoint in self._endpoints)

    def _identified(self, prompt: Prompt) -> Prompt:
        """With token ids, where a broken stream could go on elsewhere."""
        return prompt.with_token_ids() if prompt.streams and len(self.replicas) > 1 else prompt

    def _choose(self, prompt: Prompt, among: Sequence[Replica]) -> Replica:
        """Who is asked. Raises CapabilityMiss where no server of the tier takes the request, Overloaded where that is
        not known yet, Unreachable where none of those that may be asked just now does."""
        barred = prompt.bars_speculation
        if barred and not any(replica.takes(prompt) for replica in self.replicas):
            if any(replica.abilities.speculation is None for replica in self.replicas):
                raise Overloaded(f"{barred}: it is not known yet whether a server of the model takes it")
            raise CapabilityMiss(f"{barred}: no server of the model takes it: all of them speculate", param=barred)
        ready = [replica for replica in among if replica.may_be_asked]
        able = [replica for replica in ready if replica.takes(prompt)] or ([] if barred else ready)
        if not able:
            raise Unreachable("no server of the tier is to be asked just now: all of them failed or sleep")
        if len(able) == 1:
            return able[0]
        fit = useful([candidate_of(replica) for replica in able], drafted=prompt.handover is not None)
        return pick(worth_it(fit, self._rules.saturation_tokens), prompt.conversation).server

    def _another(self, prompt: Prompt, tried: Sequence[Replica], failed: ModelError) -> Replica:
        """Who is asked after a failure before the first word; raises the failure where that would be no use."""
        others = [replica for replica in self.replicas if replica not in tried]
        if isinstance(failed, CapabilityMiss):
            others = [replica for replica in others if is_abler(replica, tried[-1])]
        elif not isinstance(failed, ANOTHER_MAY_DO_BETTER):
            raise failed
        if isinstance(failed, Disconnected) and len(self.replicas) == 1 == len(tried):
            others = [*tried]
        enough = len(tried) >= MAX_TRIES and not isinstance(failed, Overloaded)
        if enough or not others:
            raise failed
        another = self._choose_or_raise(prompt, others, failed)
        self.retried += 1
        return another

    async def _another_goes_on(
        self, said: Said, prompt: Prompt, tried: Sequence[Replica], failed: ModelError
    ) -> tuple[Replica, Prompt]:
        """Who goes on with a stream, and from what; raises the failure where nobody can, or may."""
        continuation = said.continuation()
        allowed = continuation == "exact" or (continuation == "inexact" and self._rules.on_broken_stream == "resume")
        if not allowed or len(tried) > MAX_RESUMES or not isinstance(failed, ANOTHER_MAY_DO_BETTER):
            raise failed
        others = [replica for replica in self.replicas if replica not in tried]
        another = self._choose_or_raise(prompt, others, failed)
        kept = await another.kept_ids(said.ids, said.stretches)
        if kept is None:
            raise failed
        log.warning("stream goes on elsewhere", server=tried[-1].endpoint.name, continuation=continuation)
        self.resumed += 1
        return another, said.rest_of_prompt(kept)

    def _choose_or_raise(self, prompt: Prompt, among: Sequence[Replica], failed: ModelError) -> Replica:
        try:
            return self._choose(prompt, among)
        except ModelError:
            raise failed from None

    async def _addresses(self, endpoint: Endpoint) -> Sequence[Endpoint]:
        try:
            found = await expanded(endpoint, self._resolve)
        except (OSError, UnicodeError):  # a name that is none is as good as unknown
            found = ()
        had = [replica.endpoint for replica in self.replicas if replica.endpoint.url == endpoint.url]
        return found or had

    async def passed(self, path: str, body: JsonObject, request_id: str) -> bytes:
        """A server's reply to a request that is no completion, as it came; a failure is tried again as `generate` does.
        No server has anything of it in its cache, so its id draws the server. Raises a ModelError."""
        asking, tried = Prompt({"prompt": request_id}, request_id, form="completion"), list[Replica]()
        replica = self._choose(asking, self.replicas)
        while True:
            tried.append(replica)
            try:
                return await replica.passed(path, body, request_id)
            except ModelError as failed:
                replica = self._another(asking, tried, failed)


async def probe_forever(replica: Replica) -> None:
    """Ask a server again and again how it is, sooner while it is lost or in doubt."""
    while True:
        try:
            await replica.probe()
        except Exception:  # the top of its task: a server that answers nonsense is asked again
            log.exception("probe failed", server=replica.endpoint.name)
        await asyncio.sleep(PROBE_LOST_EVERY_S)
        if replica.breaker.state == "closed":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_S - PROBE_LOST_EVERY_S):
                    await replica.doubted.wait()


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
