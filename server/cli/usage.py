"""`smallfirst usage`: what was asked, answered and spent, by key, cascade, tier and day."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from server.cli.chat import printable
from server.cli.console import WRONG_USE, complain
from server.cli.explain import CannotExplain, home
from server.settings.reading import SettingsError, read_settings
from server.settings.store import StoreSettings
from server.store.counting import Counts
from server.store.database import Database
from server.store.home import Home, home_of, state_folder
from server.store.records import StoreDown
from server.store.usage import Asked, Used, told, used

WIDEST = 10_000
NUMBERS = ("requests", "answered", "accepted", "escalated", "tokens in", "tokens out", "cost", "saved (estimate)")


def run_usage(config: Path | None, store: str | None, asked: Asked, *, as_json: bool) -> int:
    """Print it; 1 where the store cannot be read, 2 where the configuration is wrong."""
    try:
        found = asyncio.run(read(home_for(config, store, os.environ), asked))
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except (CannotExplain, StoreDown) as wrong:
        complain([f"the store cannot be read: {wrong}"])
        return 1
    if as_json:
        print(orjson.dumps(told(found, asked), option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - what was asked for
    else:
        show(table(found, asked))
    return 0


def show(rows: Table) -> None:
    """Print it as wide as it is: a number that is cut says something else."""
    width = Console(width=WIDEST).measure(rows).maximum
    Console(highlight=False, width=width).print(rows)


def home_for(config: Path | None, store: str | None, environment: Mapping[str, str]) -> Home:
    """The store that is named, that of a configuration, or the one where nothing else is said. Raises SettingsError or
    CannotExplain."""
    if store is not None:
        return home(store)
    settings = StoreSettings() if config is None else read_settings(config, environment).store
    found = home_of(settings, state_folder(environment))
    if found is None:
        raise CannotExplain("nothing is kept there (`store`)")
    return found


async def read(home: Home, asked: Asked) -> Sequence[Used]:
    """From the database. Raises StoreDown."""
    database = Database.of_others(home.url)
    try:
        return await database.read(lambda connection: used(connection, asked))
    finally:
        await database.close()


def table(found: Sequence[Used], asked: Asked) -> Table:
    """The groups, and their sum where there are several."""
    rows = Table(box=None, pad_edge=False, header_style="dim")
    for part in asked.by:
        rows.add_column(part, no_wrap=True)
    for name in NUMBERS:
        rows.add_column(name, justify="right", no_wrap=True)
    for one in found:
        rows.add_row(*("-" if value is None else printable(value) for value in one.group), *numbers(one.counts))
    if asked.by and len(found) != 1:
        total = sum((one.counts for one in found), Counts())
        rows.add_row("all", *("" for _ in asked.by[1:]), *numbers(total), style="bold")
    return rows


def numbers(counts: Counts) -> Sequence[str]:
    """In the columns' order."""
    whole = (counts.requests, counts.answered, counts.accepted, counts.escalated, counts.prompt_tokens)
    return (*map(str, whole), str(counts.completion_tokens), f"{counts.cost:.4g}", f"{counts.saved:.4g}")
