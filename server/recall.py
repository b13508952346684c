"""Decisions that were kept, and what people say of them: GET /v1/decisions/{id} and POST /v1/feedback."""

import time

from starlette.responses import JSONResponse, Response

from models.wire import JsonObject
from server.access.caller import Caller, key_of
from server.doors.events import written
from server.doors.feedback import FeedbackRequest
from server.errors import Problem, RequestError
from server.store.finding import Found
from server.store.opening import Keeping
from server.store.records import Feedback, StoreDown, is_id, new_id
from server.store.telling import told

RETRY_S = 1
UNREADABLE = Problem(503, "the store cannot be read now: try again", "server_error", "store_unreadable", None, RETRY_S)
FULL = Problem(503, "the journal takes no more: try again later", "server_error", "store_full", None, RETRY_S)


class Unavailable(Exception):
    """The store cannot do it now."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


async def recalled(keeping: Keeping | None, given: str, caller: Caller) -> Response:
    """The caller's decision that has this id; an operator's caller has all. Raises RequestError where there is none, or
    Unavailable."""
    try:
        found = await known(keeping, given, caller)
    except StoreDown as down:
        raise Unavailable(UNREADABLE) from down
    return Response(written(told(found)), media_type="application/json")


async def heard(keeping: Keeping | None, said: FeedbackRequest, caller: Caller) -> JSONResponse:
    """Keep what a caller says of an answer of its own; 202 where nobody can tell now whether there was such an answer,
    and it could be nobody else's. Raises RequestError where there was none, or Unavailable."""
    keeping = kept(keeping)
    left_out = [] if said.correction is None or keeping.rules.texts else ["correction"]
    if left_out and said.score is None and said.label is None:
        raise RequestError("correction: texts are not kept here (`store.texts` is off)", param="correction")
    try:
        about = (await known(keeping, said.id, caller)).decision.id
    except StoreDown as down:
        if not caller.is_admin:
            raise Unavailable(UNREADABLE) from down
        about = None
    correction = None if left_out or said.correction is None else keeping.rules.redaction.of_text(said.correction)
    feedback = Feedback(new_id(), about or said.id, time.time(), said.score, said.label, correction)
    if not keeping.keeper.keep(feedback):
        raise Unavailable(FULL)
    reply: JsonObject = {"object": "feedback", "id": feedback.id, "decision": about, "left_out": [*left_out]}
    return JSONResponse(reply, 202 if about is None else 200)


async def known(keeping: Keeping | None, given: str, caller: Caller) -> Found:
    """The caller's decision that has this id: clients choose ids, so others may have the same. Raises RequestError
    where there is none, or StoreDown."""
    keeping = kept(keeping)
    of_key = None if caller.is_admin else key_of(caller)
    found = await keeping.keeper.find(given, of_key) if is_id(given) else None
    if found is None:
        raise RequestError(f"id: there is no decision {given[:160]!r} here", param="id", status=404,
                           code="decision_not_found")  # fmt: skip
    return found


def kept(keeping: Keeping | None) -> Keeping:
    """The store. Raises RequestError where nothing is kept."""
    if keeping is None:
        raise RequestError("id: this gateway keeps no decisions (`store`)", param="id", status=404,
                           code="decision_not_found")  # fmt: skip
    return keeping
