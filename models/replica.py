"""One server of a tier: what it is asked, and what is known of it. Knows nothing of the tier's other servers."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from typing import TypeAlias, TypeVar

from msgspec import structs

from models.abilities import IDLE, UNKNOWN
from models.acceptance import Acceptance
from models.acquainting import acquainted, recognised
from models.answer import Delta, Finish, WentOn
from models.breaker import Breaker, Ticket
from models.calling import Caller
from models.endpoint import Endpoint, Limits
from models.errors import (
    BadReply,
    CapabilityMiss,
    Misconfigured,
    ModelError,
    NoConnection,
    Overloaded,
    TimedOut,
    Unreachable,
)
from models.handover.contract import MAX_DRAFT_TOKENS
from models.probing import Door, find_load, text_of, tokens_of, with_models
from models.prompt import Handover, Prompt, Written
from models.recognition import Recognition
from models.session import Session
from models.wire import JsonObject

PROBE_S = 10.0
TOKENIZE_S = 1.0
DETOKENIZE_S = 5.0
FULL_S = 1
LONGEST_FULL_S = 30
GO_ON_WITHIN_S = 2.0
TEMPLATE_TAKES = ("messages", "tools", "chat_template_kwargs", "add_special_tokens")
MOST_HELD_IDS = 8
SERVER_FAILED = 500
CHARACTERS_PER_TOKEN = 8

Answer = TypeVar("Answer")
Stream: TypeAlias = tuple[Delta | Finish, AsyncGenerator[Delta | Finish], bool]  # what came first, the rest, a handover


class WentOnElsewhere(BadReply):
    """The server was told to go on from token ids, and answered from something else."""


class Replica:
    """A server of a tier, and what is known of it. `running` is how many of our requests it is working on, `others`
    how many of anyone else's it had when it was last asked; `doubted` is set where it should be asked soon."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        session: Session,
        limits: Limits,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self.abilities = UNKNOWN
        self.load = IDLE
        self.acceptance = Acceptance()
        self.breaker = Breaker()
        self.recognition = Recognition(now_s)
        self.doubted = asyncio.Event()
        self.running = 0
        self.others = 0
        self._full_until_s = 0.0
        self._caller = Caller(endpoint, session, limits)
        self._door = Door(session, endpoint, PROBE_S)
        self._alive_within_s = limits.connect_s

    @property
    def is_full(self) -> bool:
        """Whether it said a moment ago that it has no room."""
        return time.monotonic() < self._full_until_s

    @property
    def pressure(self) -> float:
        """1 while it is full, else the share of its requests that wait, as of when it was last asked."""
        if self.is_full:
            return 1.0
        return self.load.waiting / max(1, self.load.waiting + self.load.running)

    @property
    def may_be_asked(self) -> bool:
        """Whether it is awake, and its failures do not speak against it."""
        return self.breaker.lets_through and not self.load.asleep

    def takes(self, prompt: Prompt) -> bool:
        """Whether nothing speaks against the request: the server has the model, and is known not to speculate where
        that would be its end."""
        models, speculation = self.abilities.models, self.abilities.speculation
        serves = not models or self.endpoint.model in models
        is_safe = self.endpoint.dialect == "openai" or speculation == "none" or not prompt.bars_speculation
        return serves and is_safe

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As `Model.generate`, by this server or not at all."""
        if not prompt.streams:
            for part in await self.whole(prompt):
                yield part
            return
        with self._at_work() as ticket:
            first, parts, handed = await self._heeded(prompt, self._begun)
            async with aclosing(parts):
                self._did_well(ticket)
                yield first
                async for part in parts:
                    yield self._completed(part, handed=handed) if isinstance(part, Finish) else part

    async def whole(self, prompt: Prompt) -> tuple[Delta, Finish]:
        """What `generate` yields for a prompt that does not stream; it is not paid for by the piece."""
        with self._at_work() as ticket:
            answered = await self._heeded(prompt, self._answered)
            self._did_well(ticket)
        return answered

    async def kept_ids(self, ids: Sequence[int], stretches: Sequence[tuple[int, str]]) -> int | None:
        """How many of the token ids that were told are all that was told, by this server's tokenizer: the last ones may
        hold the beginning of a character, or words that a parser held back. None where no number of them is, or where
        the server cannot say.

        `stretches` are texts that go to the end of the ids, and where in these each begins.
        """
        most = len(ids)
        for kept in range(most, max(0, most - MOST_HELD_IDS), -1):
            for start, text in stretches:
                said = await self._text_of(ids[start:kept]) if kept > start else ""
                if said is None:
                    return None
                if kept > start and said in (text, text.removeprefix(" ")):
                    return kept
        return None

    async def _text_of(self, ids: Sequence[int]) -> str | None:
        body: JsonObject = {"model": self.endpoint.model, "tokens": [*ids]}
        try:
            return text_of(await self._door.post("/detokenize", body, within_s=DETOKENIZE_S))
        except (Unreachable, TimedOut):
            return None

    async def is_up(self) -> bool:
        """Whether the server answers, without failing, and may be asked: one that is back is not, until it is known."""
        try:
            return await self._list(within_s=self._alive_within_s) < SERVER_FAILED and self.may_be_asked
        except (Unreachable, TimedOut):
            return False

    async def probe(self) -> None:
        """Find out what the server can do, how busy it is, and whether it is still the same; one that cannot be reached
        is asked all anew later, and until then taken for what it was."""
        self.doubted.clear()
        try:
            await self._list(within_s=PROBE_S)
            if self.endpoint.dialect == "vllm":
                with suppress(TimedOut):  # it is busy
                    await self._probe_vllm()
            self.breaker.found_alive()  # not before it was asked what it is
        except TimedOut:
            return  # it may just be busy: the limits of requests will tell
        except Unreachable:
            self.abilities = replace(UNKNOWN, look=self.abilities.look)
            self.load, self.others = IDLE, 0
            self.breaker.found_lost()
            self.doubted.set()

    async def _list(self, *, within_s: float) -> int:
        status, listed = await self._door.list_models(within_s=within_s)
        before, self.abilities = self.abilities, with_models(self.abilities, listed, self.endpoint.model)
        if (before.models, before.context_tokens) != (self.abilities.models, self.abilities.context_tokens):
            self.recognition.doubted()
        return status

    async def _probe_vllm(self) -> None:
        self.load = await find_load(self._door)
        self.others = max(0, self.load.running + self.load.waiting - self.running)
        if self.abilities.speculation is None:
            self.abilities = await acquainted(self._door, self.abilities, self.recognition)
        elif self.recognition.is_due:
            self.abilities = await recognised(self._door, self.abilities, self.recognition)

    def _did_well(self, ticket: Ticket) -> None:
        """A request came to something; a server that is back from failing may be another."""
        if self.breaker.state != "closed":
            self._doubt()
        self.breaker.succeeded(ticket)

    def _doubt(self) -> None:
        self.recognition.doubted()
        self.doubted.set()

    def _blame(self, error: ModelError, ticket: Ticket) -> None:
        match error:
            case CapabilityMiss() | Misconfigured():
                self.breaker.succeeded(ticket)
            case Overloaded():
                self.breaker.succeeded(ticket)
                self._full_until_s = time.monotonic() + min(error.retry_after_s or FULL_S, LONGEST_FULL_S)
            case _:
                self.breaker.failed(ticket, lost=isinstance(error, NoConnection))
                if isinstance(error, Unreachable):
                    self._doubt()

    async def _heeded(self, prompt: Prompt, ask: Callable[[Prompt], Awaitable[Answer]]) -> Answer:
        """What this comes to; after another model's words by token ids where the server heeds them, else by the text.
        Raises WentOnElsewhere where there is no text."""
        try:
            return await ask(await self._going_on(prompt))
        except WentOnElsewhere:
            if prompt.written is not None:
                raise
            return await ask(prompt)

    async def _begun(self, prompt: Prompt) -> Stream:
        """A stream whose first part has come. Raises WentOnElsewhere where the server takes no notice of the token ids
        that it should go on from."""
        draft = await self._draft_ids(prompt)
        parts = self._caller.streamed(self._body(prompt, draft), prompt.request_id)
        first = await anext(parts)
        try:
            return first if isinstance(first, Finish) else self._opening(first, prompt), parts, bool(draft)
        except WentOnElsewhere:
            await parts.aclose()
            raise

    async def _answered(self, prompt: Prompt) -> tuple[Delta, Finish]:
        """The same of an answer in one piece."""
        draft = await self._draft_ids(prompt)
        delta, finish = await self._caller.whole(self._body(prompt, draft), prompt.request_id)
        return self._opening(delta, prompt), self._completed(finish, handed=bool(draft))

    def _body(self, prompt: Prompt, draft: tuple[int, ...]) -> JsonObject:
        """The request as this server gets it, with the draft's token ids that it is to verify."""
        body = prompt.body(self.endpoint.model, extras=self.endpoint.dialect == "vllm", draft=draft)
        if prompt.priority and self.endpoint.priorities:
            body["priority"] = -prompt.priority  # vLLM's lowest goes first
        return body

    def _opening(self, delta: Delta, prompt: Prompt) -> Delta:
        """The first piece. Raises WentOnElsewhere where it does not follow the ids that the server was given."""
        written = prompt.written
        if written is not None:
            told = tuple(delta.reply.get("prompt_token_ids") or ())
            if told != (*written.prompt_token_ids, *written.token_ids):
                raise WentOnElsewhere("the server went on from something else than what had been said")
        if not prompt.identified:
            return delta
        return delta._replace(tokenizer=self.abilities.tokenizer, went_on=went_on(prompt))

    def _completed(self, finish: Finish, *, handed: bool) -> Finish:
        if finish.speculation is not None:
            self.acceptance.learn(finish.speculation)
        return structs.replace(finish, handed=True) if handed else finish

    async def _going_on(self, prompt: Prompt) -> Prompt:
        """The prompt; one that goes on after another model's words, in token ids where those can be had, and soon; else
        as it is: in text."""
        prefix = prompt.prefix
        if prefix is None or prompt.written is not None:
            return prompt
        same_ids = prefix.token_ids and prefix.tokenizer is not None and prefix.tokenizer == self.abilities.tokenizer
        if not same_ids or prompt.renders_by_more:
            return prompt
        try:
            async with asyncio.timeout(GO_ON_WITHIN_S):
                kept, prompt_ids = await asyncio.gather(
                    self.kept_ids(prefix.token_ids, [(0, prefix.text)]), self._prompt_ids(prompt)
                )
        except TimeoutError:
            return prompt
        if kept is None or not prompt_ids:
            return prompt
        written = Written(prompt_ids, prefix.token_ids[:kept])
        return structs.replace(prompt, written=written, handover=with_ids(prompt.handover, prefix.token_ids[kept:]))

    async def _prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The conversation in this server's token ids, up to where an answer begins; none where it cannot say."""
        named = {name: prompt.fields[name] for name in TEMPLATE_TAKES if prompt.fields.get(name) is not None}
        body: JsonObject = {**named, "model": self.endpoint.model, "add_generation_prompt": True}
        try:
            return tokens_of(await self._door.post("/tokenize", body, within_s=DETOKENIZE_S))
        except (Unreachable, TimedOut):
            return ()

    async def _draft_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The handed draft in this server's own tokens; none where it takes no drafts, or cannot say."""
        handover = prompt.handover
        if handover is None or self.abilities.speculation != "handover":
            return ()
        if handover.token_ids and handover.tokenizer is not None and handover.tokenizer == self.abilities.tokenizer:
            return handover.token_ids[:MAX_DRAFT_TOKENS]
        text = handover.text[: MAX_DRAFT_TOKENS * CHARACTERS_PER_TOKEN]
        body: JsonObject = {"model": self.endpoint.model, "prompt": text, "add_special_tokens": False}
        try:
            return tokens_of(await self._door.post("/tokenize", body, within_s=TOKENIZE_S))[:MAX_DRAFT_TOKENS]
        except (Unreachable, TimedOut):
            return ()

    async def passed(self, path: str, body: JsonObject, request_id: str) -> bytes:
        """The server's reply to a request that is no completion, as it came. Raises a ModelError."""
        with self._at_work() as ticket:
            received = await self._caller.passed(path, {**body, "model": self.endpoint.model}, request_id)
            self._did_well(ticket)
        return received

    @contextmanager
    def _at_work(self) -> Iterator[Ticket]:
        """A request of ours that the server works on; its failure speaks against the server."""
        self.running += 1
        ticket = self.breaker.sent()
        try:
            yield ticket
        except ModelError as error:
            self._blame(error, ticket)
            raise
        finally:
            self.running -= 1
            self.breaker.given_up(ticket)


def went_on(prompt: Prompt) -> WentOn | None:
    """How an answer went on after another model's words, if it did."""
    if prompt.prefix is None:
        return None
    if prompt.written is None:
        return WentOn("text", prompt.prefix.tokens)
    return WentOn("ids", prompt.written.shown or len(prompt.written.token_ids))


def with_ids(handover: Handover | None, ids: Sequence[int]) -> Handover | None:
    """A draft that begins with these token ids, where it is known in ids at all."""
    if handover is None or not handover.token_ids:
        return handover
    return structs.replace(handover, token_ids=(*ids, *handover.token_ids))
