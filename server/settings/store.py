"""`store`: what is kept of requests, where, and for how long."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from server.settings.section import Section

SQLITE = "sqlite:///"
MEBIBYTE = 2**20


def known_database(value: object) -> object:
    """What can be a store's URL: nothing, 'none', or that of a SQLite file. Raises ValueError."""
    path = value.removeprefix(SQLITE) if isinstance(value, str) else ""
    is_file = path != value and "?" not in path and Path(path).is_absolute()
    if value in (None, "none") or is_file:
        return value
    raise ValueError("should be 'none', or a SQLite file with its whole path: sqlite:////var/lib/smallfirst.db")


def beside_the_file(value: object, info: ValidationInfo) -> object:
    """A folder whose path is not whole is looked for beside the configuration. Raises ValueError."""
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("should be the path of a folder")
    return (info.context or Path()) / value


Url = Annotated[Literal["none"] | str | None, BeforeValidator(known_database)]
Folder = Annotated[Path | None, BeforeValidator(beside_the_file)]


class StoreSettings(Section):
    """The decision log."""

    url: Url = None
    folder: Folder = None
    texts: bool = False
    evidence_tokens: Annotated[int, Field(ge=0, le=8192)] = 256
    keep_days: Annotated[float, Field(gt=0, le=36500, allow_inf_nan=False)] | None = 30.0
    journal_max_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 256 * MEBIBYTE

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.url == "none" and (self.folder is not None or self.texts):
            raise ValueError("url: 'none' keeps nothing, so neither folder nor texts go with it")
        return self
