"""The store, open for as long as the gateway runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from server.settings.store import StoreSettings
from server.store.database import Database
from server.store.home import Home, home_of
from server.store.journal import Journal
from server.store.keeper import Keeper, running
from server.store.redacting import Redaction
from server.store.story import Rules
from server.store.tally import Tally

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Keeping:
    """The store that is open, and how much of a request goes into it."""

    keeper: Keeper
    rules: Rules


@asynccontextmanager
async def opened(
    settings: StoreSettings, state: Path | None, registry: CollectorRegistry
) -> AsyncIterator[Keeping | None]:
    """The store, for as long as the block lasts; None where nothing is kept, because that is what the operator wants,
    or because the place that nobody chose cannot be written. Raises OSError where a chosen one cannot."""
    home = home_of(settings, state)
    journal = None if home is None else journal_in(home, settings)
    if home is None and settings.url != "none":
        log.warning("no decisions are kept: set store.folder, or store.url to none")
    if home is None or journal is None:
        yield None
        return
    keeper = Keeper(journal, Database(home.url), Tally(registry), keep_days=settings.keep_days)
    log.info("decisions are kept", folder=str(home.folder), texts=settings.texts, days=settings.keep_days)
    async with running(keeper):
        yield Keeping(keeper, Rules(settings.evidence_tokens, settings.texts, Redaction.of(settings.redact)))


def journal_in(home: Home, settings: StoreSettings) -> Journal | None:
    """The journal there; None where it cannot be written and nobody chose the place. Raises OSError."""
    try:
        return Journal.opened(home.journal, max_bytes=settings.journal_max_bytes)
    except OSError as unwritable:
        if home.is_chosen:
            raise
        log.warning("no decisions are kept: set store.folder, or store.url to none", folder=str(home.folder),
                    cause=unwritable.strerror)  # fmt: skip
        return None
