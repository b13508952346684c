"""`store`: what is kept of requests, where, and for how long."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from server.settings.asking import frozen
from server.settings.section import Section

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")
SERVERS = re.compile(r"[^,\[\]]*(?:\[[^\]]*\])?:[^,:\]]*(?=,|$)")  # those that have a port
MOST_PORTS = 65535
MEBIBYTE = 2**20


def known_database(value: object) -> object:
    """What can be a store's URL: nothing, 'none', that of a SQLite file, or that of a PostgreSQL database. Raises
    ValueError, without what the URL says."""
    if value in (None, "none"):
        return value
    if isinstance(value, str) and value.startswith(POSTGRESQL):
        refuse_no_server(value)
        return value
    path = value.removeprefix(SQLITE) if isinstance(value, str) else ""
    if path != value and "?" not in path and Path(path).is_absolute():
        return value
    raise ValueError(
        "should be 'none', a SQLite file with its whole path (sqlite:////var/lib/smallfirst.db), or"
        " postgresql://user:password@host:5432/database"
    )


def refuse_no_server(url: str) -> None:
    """Raise ValueError where a URL does not say which of a PostgreSQL server's databases it is."""
    try:
        parts = urlsplit(url)
        ports = [one.rpartition(":")[2] for one in SERVERS.findall(parts.netloc.rpartition("@")[2])]
        is_one = not parts.fragment and len(parts.path) > 1 and all(1 <= int(port) <= MOST_PORTS for port in ports)
    except ValueError:
        is_one = False
    if not is_one or any(character.isspace() for character in url):
        raise ValueError(
            "should be like postgresql://user:password@host:5432/database, with other characters than letters and"
            " digits of the password as %XX"
        )


def beside_the_file(value: object, info: ValidationInfo) -> object:
    """A folder whose path is not whole is looked for beside the configuration. Raises ValueError."""
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("should be the path of a folder")
    return (info.context or Path()) / value


def known_expression(value: object) -> object:
    """A regular expression of RE2. Raises ValueError."""
    if isinstance(value, str):
        from server.store.redacting import compiled  # its library takes a while, and most do not need it

        compiled(value)
    return value


Expression = Annotated[str, BeforeValidator(known_expression)]
Url = Annotated[Literal["none"] | str | None, BeforeValidator(known_database)]
Folder = Annotated[Path | None, BeforeValidator(beside_the_file)]


class StoreSettings(Section):
    """The decision log."""

    url: Annotated[Url, Field(repr=False)] = None  # a password may be in it
    folder: Folder = None
    texts: bool = False
    redact: Annotated[tuple[Expression, ...], BeforeValidator(frozen)] = ()
    evidence_tokens: Annotated[int, Field(ge=0, le=8192)] = 256
    keep_days: Annotated[float, Field(gt=0, le=36500, allow_inf_nan=False)] | None = 30.0
    journal_max_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 256 * MEBIBYTE

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.url == "none" and (self.folder is not None or self.texts):
            raise ValueError("url: 'none' keeps nothing, so neither folder nor texts go with it")
        return self
