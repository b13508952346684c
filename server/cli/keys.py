"""`smallfirst keys`: keys in the store of a configuration, whether a gateway runs or not."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from server.access.caller import Allowance
from server.access.issuing import DAY_S, Issued, issue, renew
from server.access.key import Key, is_id
from server.access.opening import home_of_keys
from server.admin.wishes import KeyChange, KeyWish
from server.cli.console import WRONG_USE, complain
from server.doors.reading import checked
from server.errors import RequestError
from server.settings.reading import SettingsError, read_settings
from server.settings.schema import Settings
from server.store.database import Database, Refused
from server.store.home import Home, state_folder
from server.store.keys import KeyTable, NoSuchKey, TooManyKeys
from server.store.records import StoreDown

WIDE = 160
OF_KEYS = {"task": "task", "end": "expires"}  # what can be taken away and is no limit

Made = TypeVar("Made")


class CannotDo(Exception):
    """What was asked for cannot be done."""


def run_create(
    config: Path, environment: Mapping[str, str], fields: Mapping[str, object], *, days: float | None
) -> int:
    """Print a new key; 2 where it cannot be such a one."""

    def create() -> None:
        settings = read_settings(config, environment)
        expires = None if days is None else later(days)
        wanted = checked(KeyWish, {**fields, "expires": expires})
        refuse_unknown_models(wanted.allowance.models, settings)
        hand_out(at_table(home_of_keys(settings, state_folder(environment)), lambda table: issue(table, wanted.wish)))

    return ran(create)


def run_change(
    config: Path, environment: Mapping[str, str], identity: str, fields: Mapping[str, object], *, days: float | None,
    without: Sequence[str] = (),
) -> int:  # fmt: skip
    """Print a key as it is now; 2 where it cannot be such a one, 1 where there is none."""

    def change() -> None:
        refuse_no_id(identity)
        settings = read_settings(config, environment)
        wanted = change_of(fields, days, without)
        refuse_unknown_models(wanted.allowance.models if wanted.allowance else None, settings)
        home = home_of_keys(settings, state_folder(environment))
        say_changed(at_table(home, lambda table: table.change(identity, wanted.changed)))

    return ran(change)


def change_of(fields: Mapping[str, object], days: float | None, without: Sequence[str]) -> KeyChange:
    """What the options say, as the admin API takes it. Raises RequestError."""
    allowance, ours = fields.get("allowance", {}), {**fields, **({} if days is None else {"expires": later(days)})}
    limits = {**allowance} if isinstance(allowance, Mapping) else {}
    for bound in without:
        name = OF_KEYS.get(bound, bound.replace("-", "_"))
        place = ours if bound in OF_KEYS else limits
        if name in place:
            raise RequestError(f"--without {bound}: was given too: say one of both")
        place[name] = None
    if not ours and not limits:
        raise RequestError("nothing is to be otherwise: say what (see `keys change --help`)")
    return checked(KeyChange, {**ours, **({"allowance": limits} if limits else {})})


def later(days: float) -> float:
    """So many days from now, in Unix seconds."""
    return time.time() + days * DAY_S


def run_rotate(config: Path, environment: Mapping[str, str], identity: str, *, grace_s: float) -> int:
    """Print a key's new text; 1 where there is no such key."""

    def rotate() -> None:
        refuse_no_id(identity)
        hand_out(at_keys(config, environment, lambda table: renew(table, identity, grace_s=grace_s)))

    return ran(rotate)


def run_revoke(config: Path, environment: Mapping[str, str], identity: str) -> int:
    """Say that it is done; 1 where there is no such key."""

    def revoke() -> None:
        refuse_no_id(identity)
        say_revoked(at_keys(config, environment, lambda table: table.revoke(identity)))

    return ran(revoke)


def run_list(config: Path, environment: Mapping[str, str], *, revoked: bool) -> int:
    """Print all keys as a table."""

    def show() -> None:
        found = at_keys(config, environment, lambda table: table.all())
        print_keys(key for key in found if revoked or key.revoked is None)

    return ran(show)


def ran(command: Callable[[], None]) -> int:
    """The exit code: 0, or 2 where it was asked wrongly, or 1 where it cannot be done."""
    try:
        command()
    except RequestError as wrong:
        complain([str(wrong)])
        return WRONG_USE
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except CannotDo as failed:
        complain([str(failed)])
        return 1
    return 0


def refuse_no_id(identity: str) -> None:
    """Raise CannotDo where that names no key."""
    if not is_id(identity):
        raise CannotDo("the key's id is what comes before its secret: sf- and 8 characters (see `keys list`)")


def at_keys(config: Path, environment: Mapping[str, str], work: Callable[[KeyTable], Awaitable[Made]]) -> Made:
    """What the work makes of the keys of a configuration. Raises SettingsError, or CannotDo."""
    return at_table(home_of_keys(read_settings(config, environment), state_folder(environment)), work)


def at_table(home: Home, work: Callable[[KeyTable], Awaitable[Made]]) -> Made:
    """What the work makes of the keys of a store. Raises CannotDo."""

    async def worked() -> Made:
        database = Database(home.url)
        try:
            return await work(KeyTable(database))
        finally:
            await database.close()

    try:
        return asyncio.run(worked())
    except NoSuchKey as wrong:
        raise CannotDo(
            f"there is no key {wrong} in {home.folder}, or it was revoked (see `keys list --revoked`)"
        ) from wrong
    except (StoreDown, Refused, TooManyKeys) as failed:
        raise CannotDo(f"{home.folder}: {failed}") from failed


def refuse_unknown_models(models: list[str] | None, settings: Settings) -> None:
    """Raise RequestError for a name that is neither a cascade's nor a tier's."""
    names = [*settings.cascades, *settings.tiers]
    for name in models or ():
        if name not in names:
            raise RequestError(f"--model: there is no {name!r} (there are: {', '.join(names)})")


def hand_out(issued: Issued) -> None:
    """The key alone to standard output, what to know to standard error."""
    sys.stderr.write(f"key {issued.key.id}: this is shown once, keep it. It counts within 5 s.\n")
    sys.stdout.write(f"{issued.text}\n")


def say_revoked(key: Key) -> None:
    """That it is done."""
    sys.stderr.write(f"key {key.id} ({printable(key.name)}) is revoked, at all gateways within 5 s\n")


def say_changed(key: Key) -> None:
    """What it is now."""
    sys.stderr.write(f"key {key.id} is changed, at all gateways within 5 s\n")
    print_keys([key])


def print_keys(keys: Iterable[Key]) -> None:
    """A row for each."""
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "may ask", "limits", "created", "last used", "ends"):
        table.add_column(heading, overflow="fold")
    for key in keys:
        name = f"{key.name} (admin)" if key.is_admin else key.name
        ends = f"revoked {day(key.revoked)}" if key.revoked is not None else day(key.expires)
        table.add_row(key.id, printable(name), may_ask(key.allowance), limits(key.allowance), day(key.created),
                      minute(key.last_used), ends)  # fmt: skip
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE).print(table)


def printable(text: str) -> str:
    """The text, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def may_ask(allowance: Allowance) -> str:
    """Which models, in which modes."""
    models = "all" if allowance.models is None else ", ".join(sorted(allowance.models))
    return models if allowance.modes is None else f"{models} ({', '.join(sorted(allowance.modes))})"


def limits(allowance: Allowance) -> str:
    """The others, as far as there are any."""
    told = {
        "requests/min": allowance.requests_per_minute,
        "tokens/min": allowance.tokens_per_minute,
        "at once": allowance.streams_at_once,
        "a day": allowance.cost_per_day,
        "a month": allowance.cost_per_month,
    }
    said = [f"{value:g} {unit}" for unit, value in told.items() if value is not None]
    return ", ".join([*said, *([f"priority {allowance.priority}"] if allowance.priority else [])]) or "-"


def day(time_s: float | None) -> str:
    """A date (UTC)."""
    return "-" if time_s is None else f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d}"


def minute(time_s: float | None) -> str:
    """A date and time (UTC)."""
    return "-" if time_s is None else f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"
