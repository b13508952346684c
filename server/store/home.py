"""Where the store is: the operator's choice, else where this user's programs keep their state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from server.settings.reading import SettingsError
from server.settings.store import SQLITE, StoreSettings
from server.store.journal import Journal


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of the journal, and the database's URL; `is_chosen` where the operator named either."""

    folder: Path
    url: str = field(repr=False)  # a password may be in it
    is_chosen: bool

    @property
    def journal(self) -> Path:
        """The journal's own folder."""
        return self.folder / "journal"


def state_folder(environment: Mapping[str, str]) -> Path | None:
    """Where programs of this user keep what they must not lose, by the XDG base directory specification; None for a
    user without a home."""
    state, home = environment.get("XDG_STATE_HOME", ""), environment.get("HOME", "")
    if Path(state).is_absolute():
        return Path(state) / "smallfirst"
    return Path(home) / ".local" / "state" / "smallfirst" if Path(home).is_absolute() else None


def home_of(settings: StoreSettings, state: Path | None) -> Home | None:
    """Where records go; `state` is for what the settings leave open. None where they go nowhere."""
    if settings.url == "none":
        return None
    url = settings.url
    beside = Path(url.removeprefix(SQLITE)).parent if url and url.startswith(SQLITE) else state
    folder = settings.folder or beside
    if folder is None:
        return None
    chosen = url is not None or settings.folder is not None
    return Home(folder, url or f"{SQLITE}{folder.absolute() / 'smallfirst.db'}", chosen)


def refuse_unwritable(home: Home | None) -> None:
    """Raise SettingsError where a journal that the operator chose a place for cannot be there."""
    if home is None or not home.is_chosen:
        return
    try:
        Journal.opened(home.journal, max_bytes=0).close()
    except OSError as unwritable:
        raise SettingsError([cannot_write(home, unwritable)]) from unwritable


def cannot_write(home: Home, why: OSError) -> str:
    """The mistake, and what to do about it."""
    return (
        f"store: {home.journal} cannot be written ({why.strerror}): choose another folder, or keep nothing with"
        " `store: {url: none}`"
    )


def place_told(home: Home) -> str:
    """Where that is, for people, without the URL's secrets."""
    if home.url.startswith(SQLITE):
        return str(home.folder)
    parts = urlsplit(home.url)
    servers = parts.netloc.rpartition("@")[2]
    return f"PostgreSQL, {parts.path.removeprefix('/')}{f' at {servers}' if servers else ''}; journal in {home.folder}"
