"""One answer on its way to a client: JSON or a stream, from the same deltas.

A failure before the first byte is an HTTP error, after it an error event. A client that leaves stops the work.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import replace

import structlog
from msgspec import Struct
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from models.answer import Delta, Finish
from models.errors import BadReply, ModelError
from router.cascade import Cascade, answer
from router.events import Event, Wrote
from router.outcome import Outcome
from server.access.caller import Caller, key_of
from server.auditing import Ticket
from server.doors.door import Asked, Door
from server.errors import DEADLINE, INTERNAL, Problem, problem_of
from server.following import Trace
from server.headers import decision_headers
from server.limits.demand import taken
from server.limits.holding import UNHELD, Hold
from server.metrics import Metrics
from server.outgoing import outgoing
from server.stopping import Deadlines, unless_gone
from server.store.opening import Keeping
from server.store.records import new_id
from server.store.story import Ending, Story

CLIENT_LEFT = 499
LAST_WORD_S = 5.0

log = structlog.get_logger()


class Order(Struct, frozen=True):
    """A request that passed its door: what to ask of which cascade, for how long at most, who wants to know, its part
    in audits, who follows it, what is reserved for it, and how long it has waited for its turn."""

    cascade: Cascade
    asked: Asked
    door: Door
    deadline_s: float
    began_s: float
    caller: Caller
    ticket: Ticket | None = None
    trace: Trace | None = None
    hold: Hold = UNHELD
    queued_s: float = 0.0


class Answer(Response):
    """Runs the cascade while it answers; one instance for one request. Its decision is kept before its last byte goes
    out."""

    def __init__(self, order: Order, metrics: Metrics, deadlines: Deadlines, keeping: Keeping | None = None) -> None:
        super().__init__()
        self._order = order
        self._metrics = metrics
        self._deadlines = deadlines
        self._keeping = keeping
        self._story = Story(keeping.rules, order.asked.prompt) if keeping else None
        self._id = new_id() if self._story is None else self._story.id
        self._outcome = Outcome(order.cascade)
        self._status = CLIENT_LEFT
        self._begun = False
        self._overhead_s: float | None = None
        self._first_byte_s: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or stop everything when the client leaves."""
        self._metrics.began()
        try:
            await unless_gone(self._answered(scope, receive, send), scope, receive)
        finally:
            self._keep()
            self._report()

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = await self._sent(send)
        if problem is None:
            return
        problem = replace(problem, request_id=self._order.asked.prompt.request_id)
        self._status = problem.status
        if self._order.trace is not None:
            self._order.trace.failed(problem)
        if self._begun:
            # A client that does not read gets no last word: the server closes the connection.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    last_word = self._order.asked.writer.broken(problem)
                    self._keep()
                    await send({"type": "http.response.body", "body": last_word, "more_body": False})
            return
        headers = {**self._decision(), **problem.headers}
        self._keep()
        await JSONResponse(self._order.door.error_body(problem), problem.status, headers)(scope, receive, send)

    def _sent(self, send: Send) -> Awaitable[Problem | None]:
        """As `_problem`. A stream is a task of its own: each of its pieces would else go through all that is around the
        answer, the framework's too, to be written."""
        problem = self._problem(send)
        return asyncio.create_task(problem) if self._order.asked.prompt.streams else problem

    async def _problem(self, send: Send) -> Problem | None:
        """Send the answer; what kept it from being sent whole, if something did."""
        order = self._order
        write = self._write_stream if order.asked.prompt.streams else self._write_whole
        try:
            with self._deadlines.within(order.deadline_s):
                async with aclosing(answer(order.cascade, order.asked.prompt, self._observe)) as parts:
                    await write(parts, send)
        except TimeoutError:
            return DEADLINE
        except ModelError as error:
            return problem_of(error)
        except Exception:
            log.exception("answer failed", request_id=order.asked.prompt.request_id)
            return INTERNAL
        return None

    async def _write_whole(self, parts: AsyncGenerator[Delta | Finish], send: Send) -> None:
        whole: Delta | None = None
        finish = Finish(None)
        async for part in parts:
            if isinstance(part, Finish):
                finish = part
            else:
                whole = part
        if whole is None:
            raise BadReply("the model finished without an answer")
        body = self._order.asked.writer.whole(whole, finish, self._outcome)
        self._shown(whole)
        await self._start(send, b"application/json", len(body))
        self._keep()
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _write_stream(self, parts: AsyncGenerator[Delta | Finish], send: Send) -> None:
        writer = self._order.asked.writer
        finish = Finish(None)
        async with outgoing(send) as body:
            while (part := await body.after(parts)) is not None:
                if isinstance(part, Finish):
                    finish = part
                    continue
                self._shown(part)
                events = writer.chunk(part, self._outcome)
                if not self._begun:
                    await self._start(send, b"text/event-stream; charset=utf-8", None)
                await body.write(events, more=part.more)
            if not self._begun:
                raise BadReply("the model finished without an answer")
            ending = writer.ending(finish, self._outcome)
            self._keep()
            await body.end(ending)

    async def _start(self, send: Send, content_type: bytes, length: int | None) -> None:
        decision = self._decision()
        headers = [*zip(map(str.encode, decision), map(str.encode, decision.values()), strict=True)]
        headers.append((b"content-type", content_type))
        headers.append((b"cache-control", b"no-cache") if length is None else (b"content-length", b"%d" % length))
        self._begun = True
        self._status = 200
        self._first_byte_s = time.perf_counter() - self._order.began_s
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    def _decision(self) -> dict[str, str]:
        order = self._order
        overhead_s = max(0.0, time.perf_counter() - order.began_s - order.queued_s - self._outcome.waited_s)
        self._overhead_s = overhead_s
        told = decision_headers(self._outcome, request_id=order.asked.prompt.request_id, overhead_s=overhead_s)
        return {**told, **order.hold.headers}

    def _observe(self, happened: Event) -> None:
        if self._story is not None:
            self._story.observe(happened)
        if isinstance(happened, Wrote):  # for each piece, and nobody else listens
            return
        self._outcome.observe(happened)
        if self._order.trace is not None:
            self._order.trace.observe(happened)
        self._metrics.observe(happened, self._order.cascade.name)

    def _shown(self, delta: Delta) -> None:
        if self._story is not None:
            self._story.answered(delta.pieces)
        if self._order.ticket is not None:
            self._order.ticket.answered(delta)

    def _keep(self) -> None:
        """Give back what was not needed and hand the decision over, once; the answer does not suffer where that
        fails."""
        if not self._order.hold.is_over:
            self._order.hold.end(taken(self._outcome))
        story, self._story = self._story, None
        if story is None or self._keeping is None:
            return
        try:
            self._keeping.keeper.keep(story.decision(self._outcome, self._ending()))
        except Exception:
            log.exception("decision not kept", request_id=self._order.asked.prompt.request_id)

    def _ending(self) -> Ending:
        order, ended_s = self._order, time.perf_counter() - self._order.began_s
        trusted, ticket = order.cascade.trusted, order.ticket
        return Ending(
            order.asked.prompt.request_id, order.asked.writer.id, order.door.path, time.time() - ended_s,
            status=self._ended_with, seconds=ended_s, first_byte_s=self._first_byte_s,
            task=self._task,
            propensity=None if ticket is None else ticket.propensity,
            artefact=None if trusted is None else trusted.identity,
            key=key_of(order.caller),
        )  # fmt: skip

    @property
    def _task(self) -> str | None:
        """The kind of request; a name that only the client knows is a text."""
        cascade = self._order.cascade
        task = self._order.asked.controls.task or cascade.task
        known = [cascade.task, *(() if cascade.trusted is None else cascade.trusted.trust.clusters)]
        if task is None or task in known:
            return task
        rules = None if self._keeping is None else self._keeping.rules
        return rules.redaction.of_text(task) if rules is not None and rules.texts else None

    @property
    def _ended_with(self) -> int:
        outcome = self._outcome
        return self._status if outcome.finished or outcome.failure or self._status != 200 else CLIENT_LEFT

    def _report(self) -> None:
        outcome, order, status = self._outcome, self._order, self._ended_with
        elapsed_s = time.perf_counter() - order.began_s
        self._metrics.ended(outcome, status=status, elapsed_s=elapsed_s, overhead_s=self._overhead_s)
        log.info(
            "answered",
            request_id=order.asked.prompt.request_id,
            cascade=order.cascade.name,
            tier=outcome.tier,
            status=status,
            escalated=outcome.escalated,
            reason=outcome.reason,
            confidence=outcome.confidence,
            failure=outcome.failure.reason if outcome.failure else None,
            cost=outcome.cost,
            seconds=round(elapsed_s, 4),
            waited_s=round(outcome.waited_s, 4),
        )
        if order.ticket is not None:
            order.ticket.over(outcome, self._id, order.trace)
        if order.trace is not None:
            order.trace.ended(outcome, is_cut_off=status == CLIENT_LEFT, response_id=order.asked.writer.id)
