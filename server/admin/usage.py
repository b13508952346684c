"""/admin/usage: what was used, by whatever it is asked for."""

from fastapi import Request
from fastapi.responses import JSONResponse

from server.admin.keys import administering, reply
from server.errors import RequestError
from server.recall import UNREADABLE, Unavailable
from server.store.opening import Keeping
from server.store.records import StoreDown
from server.store.usage import Asked, asked_for, told

NAMES = ("by", "since", "until", "key")
BY = "cascade,tier"


async def get_usage(request: Request) -> JSONResponse:
    """The sums of requests, tokens and costs; what lies in journals is in them some 0.3 s later."""
    await administering(request)
    asked = read_usage(request)
    keeping: Keeping | None = request.app.state.keeping
    if keeping is None:
        raise RequestError("this gateway keeps nothing (`store`)", status=404, code="nothing_kept")
    try:
        return reply(told(await keeping.keeper.used(asked), asked))
    except StoreDown as down:
        raise Unavailable(UNREADABLE) from down


def read_usage(request: Request) -> Asked:
    """What is asked for, from the query. Raises RequestError."""
    given = request.query_params
    unknown = next((name for name in given if name not in NAMES), None)
    if unknown is not None:
        raise RequestError(f"{unknown[:64]}: is not known (there are: {', '.join(NAMES)})", param=unknown[:64])
    try:
        return asked_for(given.get("by", BY), given.get("since"), given.get("until"), given.get("key"))
    except ValueError as wrong:
        raise RequestError(str(wrong)) from wrong
