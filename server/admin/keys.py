"""/admin/keys: make, list, change, renew and revoke keys. Each change counts in this gateway before it is answered."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import Request
from fastapi.responses import JSONResponse

from models.wire import JsonObject
from server.access.caller import Caller
from server.access.issuing import Issued, issue, renew
from server.access.key import is_id
from server.access.opening import Access, Keys
from server.admin.wishes import KeyChange, KeyWish, Renewal, shown
from server.arriving import read_body
from server.building import Served
from server.doors.reading import checked, read_fields
from server.errors import Problem, RequestError
from server.recall import Unavailable
from server.settings.server import ServerSettings
from server.store.database import Refused
from server.store.keys import NoSuchKey, TooManyKeys
from server.store.records import StoreDown

MOST_BYTES = 64 * 1024
DOWN = Problem(503, "keys cannot be read or changed now: try again", "server_error", "keys_unreadable", None, 1)
UNCACHED = {"cache-control": "no-store"}

log = structlog.get_logger()


async def list_keys(request: Request) -> JSONResponse:
    """All keys, revoked ones too."""
    await administering(request)
    async with told(request) as keys:
        return reply({"object": "list", "data": [shown(key) for key in await keys.table.all()]})


async def get_key(request: Request, identity: str) -> JSONResponse:
    """One of them."""
    await administering(request)
    async with told(request) as keys:
        key = await keys.table.find(identity) if is_id(identity) else None
        if key is None:
            raise NoSuchKey(identity)
        return reply(shown(key))


async def create_key(request: Request) -> JSONResponse:
    """A new key: its text is in this answer, and nowhere else."""
    by = await administering(request)
    wanted = checked(KeyWish, read_fields(await read_body(request, server_of(request), by, most=MOST_BYTES)))
    refuse_unknown_models(wanted.allowance.models, request)
    async with told(request) as keys:
        issued = await issue(keys.table, wanted.wish)
    log.info("key created", key=issued.key.id, admin=issued.key.is_admin, by=by.id)
    return reply(with_text(issued), 201)


async def change_key(request: Request, identity: str) -> JSONResponse:
    """A key is to be otherwise."""
    by = await administering(request)
    change = checked(KeyChange, read_fields(await read_body(request, server_of(request), by, most=MOST_BYTES)))
    refuse_unknown_models(change.allowance.models if change.allowance else None, request)
    async with told(request) as keys:
        key = await keys.table.change(identity, change.changed)
    log.info("key changed", key=key.id, by=by.id)
    return reply(shown(key))


async def renew_key(request: Request, identity: str) -> JSONResponse:
    """Another secret for a key."""
    by = await administering(request)
    wanted = checked(Renewal, read_fields(await read_body(request, server_of(request), by, most=MOST_BYTES)))
    async with told(request) as keys:
        issued = await renew(keys.table, identity, grace_s=wanted.grace_s)
    log.info("key renewed", key=issued.key.id, grace_s=wanted.grace_s, by=by.id)
    return reply(with_text(issued))


async def revoke_key(request: Request, identity: str) -> JSONResponse:
    """A key ends for good."""
    by = await administering(request)
    async with told(request) as keys:
        key = await keys.table.revoke(identity)
    log.info("key revoked", key=key.id, by=by.id)
    return reply(shown(key))


async def administering(request: Request) -> Caller:
    """Which operator asks. Raises RequestError."""
    access: Access = request.app.state.access
    return await access.operator(request.headers)


@asynccontextmanager
async def told(request: Request) -> AsyncIterator[Keys]:
    """The keys; what the block changed is known to this gateway behind it. Raises RequestError, or Unavailable."""
    access: Access = request.app.state.access
    keys = access.keys
    if keys is None:
        raise RequestError("this gateway asks for no keys: say `server.auth: keys`", status=404, code="not_found")
    try:
        yield keys
    except NoSuchKey as wrong:
        raise RequestError("id: there is no such key, or it was revoked", param="id", status=404,
                           code="key_not_found") from wrong  # fmt: skip
    except TooManyKeys as full:
        raise RequestError(str(full), status=409, code="too_many_keys") from full
    except (StoreDown, Refused) as down:
        raise Unavailable(DOWN) from down
    with contextlib.suppress(StoreDown, Refused):  # the next look finds it
        await keys.keyring.refresh()


def refuse_unknown_models(models: list[str] | None, request: Request) -> None:
    """Raise RequestError for a name that is neither a cascade's nor a tier's."""
    served: Served = request.app.state.served
    for name in models or ():
        if served.find(name) is None:
            there_are = ", ".join([*served.cascades, *served.tiers])
            raise RequestError(
                f"allowance.models: there is no {name!r} here (there are: {there_are})", param="allowance.models"
            )


def server_of(request: Request) -> ServerSettings:
    """The gateway's settings."""
    settings: ServerSettings = request.app.state.settings.server
    return settings


def with_text(issued: Issued) -> JsonObject:
    """A key and its text."""
    return {**shown(issued.key), "key": issued.text}


def reply(body: JsonObject, status: int = 200) -> JSONResponse:
    """Kept by nobody on the way."""
    return JSONResponse(body, status, UNCACHED)
