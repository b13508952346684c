"""Where decisions are kept: can it be written, and is there room?"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.doctor.finding import Finding, good, problem, warning
from server.settings.store import StoreSettings
from server.store.database import Database
from server.store.home import home_of
from server.store.journal import Journal
from server.store.records import StoreDown

TIMES_THE_JOURNAL = 2


async def of_store(settings: StoreSettings, state: Path | None) -> list[Finding]:
    """What is wrong with the store, if something is."""
    home = home_of(settings, state)
    if home is None:
        return [
            warning("store", "nothing is kept", "set store.folder: decisions, audits and usage would be kept there")
        ]
    try:
        try_to_write(home.journal)
    except OSError as unwritable:
        fix = "choose another store.folder, or give this user the right to write there"
        return [problem("store", f"{home.journal} cannot be written: {unwritable.strerror}", fix)]
    return [*await of_database(home.url), *room(nearest(home.folder), settings.journal_max_bytes)]


def try_to_write(journal: Path) -> None:
    """Raise OSError where a journal could not be written there. A folder that is not there stays so: whoever asks may
    be another user than the gateway's, who could not write to what this one makes."""
    if journal.is_dir():
        Journal.opened(journal, max_bytes=0).close()
        return
    made_in = nearest(journal)
    if not made_in.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(made_in, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def nearest(place: Path) -> Path:
    """The place, or what there is of the way to it."""
    return next(one for one in (place, *place.absolute().parents) if one.exists())


async def of_database(url: str) -> list[Finding]:
    """Whether it answers; its tables are left as they are."""
    name = make_url(url).render_as_string(hide_password=True)
    try:
        database = Database.of_others(url)
    except StoreDown:
        return [good("store", f"{name} will be made when the gateway starts")]
    try:
        await database.read(answers)
    except StoreDown as down:
        return [problem("store", f"{name} does not answer: {down}", "start it, or correct store.url")]
    finally:
        await database.close()
    return [good("store", f"{name} answers")]


async def answers(connection: AsyncConnection) -> None:
    """The least that a database can be asked."""
    await connection.execute(text("SELECT 1"))


def room(folder: Path, journal_bytes: int) -> Iterator[Finding]:
    """Whether the journal fits on the disk."""
    free = shutil.disk_usage(folder).free
    if free < TIMES_THE_JOURNAL * journal_bytes:
        yield warning(
            "store", f"{free // 2**20} MiB are free where decisions are kept",
            "make room: with a full disk new decisions are dropped; or a smaller store.journal_max_bytes",
        )  # fmt: skip
