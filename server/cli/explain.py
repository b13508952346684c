"""`smallfirst explain`: why one request went where it went, from a running gateway or from the store itself."""

import asyncio
import os
from http import HTTPStatus
from pathlib import Path

import aiohttp
from pydantic import ValidationError
from rich.console import Console

from models.parsing import message_of
from server.cli.console import complain, shown
from server.cli.decision_page import page
from server.settings.store import StoreSettings
from server.store.database import Database
from server.store.finding import Found, find
from server.store.home import Home, home_of, state_folder
from server.store.records import StoreDown, is_id
from server.store.telling import found_in

ANSWER_S = 30.0


class CannotExplain(Exception):
    """There is no such decision, or nobody to ask."""


def run_explain(given: str, *, url: str, store: str | None, api_key: str | None = None) -> int:
    """Print the page; 1 where there is none to print."""
    console = Console(highlight=False)
    try:
        if not is_id(given):
            raise CannotExplain(f"{given!r} is no id: give a response's, or its x-request-id")
        asking = asked(given, url.rstrip("/"), api_key) if store is None else looked_up(given, home(store))
        found = asyncio.run(asking)
    except CannotExplain as failed:
        complain([str(failed)])
        return 1
    console.print(page(found))
    return 0


def home(store: str) -> Home:
    """The store in a folder, or at a URL. Raises CannotExplain where there is none."""
    try:
        settings = StoreSettings(url=store) if ":" in store else StoreSettings(folder=Path(store))
    except ValidationError as wrong:
        raise CannotExplain(
            "--store: a folder is wanted, or sqlite:////the/whole/path.db, or postgresql://user@host/database"
        ) from wrong
    found = home_of(settings, state_folder(os.environ) or Path())
    if found is None:
        raise CannotExplain("--store none: there is nothing to read")
    return found


async def looked_up(given: str, home: Home) -> Found:
    """From the store's own files. Raises CannotExplain."""
    try:
        database = Database.of_others(home.url)
        try:
            found = await find(given, database, home.journal)
        finally:
            await database.close()
    except StoreDown as down:
        raise CannotExplain(f"the store cannot be read: {down}") from down
    if found is None:
        raise CannotExplain(f"there is no decision {given!r} in the store")
    return found


async def asked(given: str, url: str, api_key: str | None = None) -> Found:
    """From a running gateway. Raises CannotExplain."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S), headers=shown(api_key)) as session,
            session.get(f"{url}/v1/decisions/{given}") as reply,
        ):
            body = await reply.read()
    except (aiohttp.ClientError, TimeoutError, ValueError) as failed:
        raise CannotExplain(f"no gateway answers at {url}: read its store itself with --store FOLDER") from failed
    if reply.status != HTTPStatus.OK:
        raise CannotExplain(message_of(body))
    try:
        return found_in(body)
    except ValueError as wrong:
        raise CannotExplain(f"what answers at {url} is no gateway of this version") from wrong
