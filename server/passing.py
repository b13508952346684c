"""Requests that are no completions, and go to a tier's server as they came: embeddings, rankings, scores, tokens."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Literal

import structlog
from pydantic import Field
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from models.answer import Usage
from models.errors import BadReply, ModelError, TimedOut
from models.parsing import NOT_A_REPLY, loaded, usage_in_all
from models.pool import Pool
from models.prompt import NOT_FOR_CLIENTS
from models.wire import JsonObject, WireReply
from router.call import Tier
from router.cascade import Cascade
from server.access.caller import Caller, key_of
from server.answering import CLIENT_LEFT
from server.doors.controls import OURS
from server.doors.events import written
from server.doors.reading import Wire, checked, read_fields
from server.errors import DEADLINE, INTERNAL, Problem, RequestError, openai_error, problem_of
from server.following import Trace, passed_call
from server.headers import PREFIX, id_headers
from server.limits.demand import passed_most, tokens_of
from server.limits.holding import UNHELD, Hold
from server.limits.standing import Amount, nanos_of
from server.metrics import Metrics
from server.stopping import Deadlines, unless_gone
from server.store.opening import Keeping
from server.store.records import Passed, new_id

TOKENIZE = "/tokenize"
ENDPOINTS = ("/v1/embeddings", "/v1/rerank", "/v1/score", TOKENIZE)

log = structlog.get_logger()


class PassedRequest(Wire):
    """What is looked at; the rest is the server's business."""

    model: Annotated[str, Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None  # others come back as no JSON


@dataclass(frozen=True, slots=True)
class Errand:
    """A request that passed its door: for which tier's servers, by what name the client asked for it, and who did."""

    path: str
    fields: JsonObject
    asked: str
    tier: Tier
    pool: Pool
    request_id: str
    deadline_s: float
    caller: Caller
    hold: Hold = UNHELD
    trace: Trace | None = None


def read_passed(body: bytes) -> tuple[str, JsonObject]:
    """The model that a body names, and its fields, less what is ours. Raises RequestError."""
    fields = read_fields(body)
    asked = checked(PassedRequest, fields).model
    return asked, {name: value for name, value in fields.items() if name not in (OURS, *NOT_FOR_CLIENTS)}


def tier_of(cascade: Cascade, path: str) -> Tier:
    """Whose servers are asked: a cascade has a first tokenizer, but nothing else of its own. Raises RequestError."""
    if len(cascade.tiers) > 1 and path != TOKENIZE:
        names = ", ".join(tier.name for tier in cascade.tiers)
        raise RequestError(
            f"model: {cascade.name!r} is a cascade, for {path} name one of its tiers ({names})", param="model"
        )
    return cascade.tiers[0]


class Passage(Response):
    """Runs one errand while it answers."""

    def __init__(self, errand: Errand, metrics: Metrics, deadlines: Deadlines, keeping: Keeping | None = None) -> None:
        super().__init__()
        self._errand = errand
        self._metrics = metrics
        self._deadlines = deadlines
        self._keeper = keeping.keeper if keeping else None
        self._came = time.time()
        self._status = CLIENT_LEFT
        self._usage: Usage | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or stop the server's work when the client leaves."""
        began_s = time.perf_counter()
        try:
            await unless_gone(self._answered(scope, receive, send), scope, receive)
        finally:
            self._keep()
            self._report(time.perf_counter() - began_s)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        errand = self._errand
        headers = {**id_headers(errand.request_id), PREFIX + "tier": errand.tier.name, **errand.hold.headers}
        got = await self._fetched()
        if isinstance(got, Problem):
            self._status = got.status
            if errand.trace is not None:
                errand.trace.failed(got)
            reply: Response = JSONResponse(openai_error(got), got.status, {**headers, **got.headers})
        else:
            self._status = 200
            reply = Response(got, 200, headers, "application/json")
        self._keep()
        await reply(scope, receive, send)

    async def _fetched(self) -> bytes | Problem:
        """The body of the answer, or what kept it from coming."""
        errand = self._errand
        try:
            with self._deadlines.within(errand.deadline_s), passed_call(errand.trace, errand.tier.name) as call:
                reply = read_reply(await errand.pool.passed(errand.path, errand.fields, errand.request_id))
                self._usage = call.usage = counted(reply)
            return written({**reply, "model": errand.asked} if "model" in reply else reply)
        except asyncio.CancelledError:
            self._usage = least(errand)
            raise
        except TimeoutError:
            self._usage = least(errand)
            return DEADLINE
        except ModelError as error:
            self._usage = least(errand) if isinstance(error, TimedOut) else None
            return problem_of(error)
        except Exception:
            log.exception("passing failed", request_id=errand.request_id)
            return INTERNAL

    def _keep(self) -> None:
        """Give back what was not needed and hand over what it took, once, before the last byte goes out."""
        errand, usage = self._errand, self._usage or Usage(0, 0)
        errand.hold.end(Amount(tokens_of(usage), nanos_of(self._cost)))
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        keeper.keep(Passed(
            new_id(), errand.request_id, self._came, errand.path, errand.asked, errand.tier.name, self._status,
            usage.prompt_tokens, usage.completion_tokens, self._cost, key_of(errand.caller),
        ))  # fmt: skip

    @property
    def _cost(self) -> float:
        return self._errand.tier.price.of(self._usage) if self._usage else 0.0

    def _report(self, elapsed_s: float) -> None:
        errand, cost = self._errand, self._cost
        self._metrics.passed(errand.tier.name, errand.path, status=self._status, usage=self._usage, cost=cost)
        log.info(
            "passed",
            request_id=errand.request_id,
            endpoint=errand.path,
            tier=errand.tier.name,
            status=self._status,
            cost=cost,
            seconds=round(elapsed_s, 4),
        )


def least(errand: Errand) -> Usage | None:
    """What an errand took of a server that was at work on it and did not come to tell: an estimate. Counting tokens
    takes none."""
    if errand.path == TOKENIZE:
        return None
    return Usage(passed_most(errand.fields, errand.tier).tokens, 0, estimated=True)


def read_reply(received: bytes) -> WireReply:
    """The JSON object in a reply. Raises BadReply."""
    try:
        reply = loaded(received)
    except NOT_A_REPLY as wrong:
        raise BadReply("the server's reply is no JSON") from wrong
    if not isinstance(reply, dict):
        raise BadReply("the server's reply is no JSON object")
    return reply


def counted(reply: WireReply) -> Usage | None:
    """The tokens that the server counted; some servers count them only in all."""
    try:
        return usage_in_all(reply.get("usage") or {})
    except NOT_A_REPLY:
        return None
