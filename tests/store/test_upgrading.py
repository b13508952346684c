"""A store that an earlier version made."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fakes.stores import store_of
from sqlalchemy import create_engine

from server.store.database import MIGRATIONS
from server.store.reading import audits_of
from server.store.records import StoreDown

AUDIT = (
    "INSERT INTO audits (id, place, decision, time, cascade, drafter, final, propensity, loss, grader, cost, exposure)"
    " VALUES ('a', 1, 'd', 1.0, 'auto', 'small', 'large', 0.5, 1, 'exact', 0.1, 3.0)"
)


def made_before(folder: Path, revision: str) -> str:
    """The URL of a store whose tables are those of a revision, with an audit."""
    file = folder / "smallfirst.db"
    engine = create_engine(f"sqlite:///{file}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(AUDIT)
    return f"sqlite:///{file}"


async def test_of_audits_that_were_kept_before_nobody_knows_how_much_exposure_is_sure(tmp_path: Path) -> None:
    made_before(tmp_path, "0001")
    store = store_of(tmp_path)

    await store.database.prepare()
    (placed,) = await store.keeper.audits_since("auto", 0)
    await store.close()

    assert (placed.audit.exposure, placed.audit.unseen, placed.audit.threshold) == (3.0, None, None)


def test_a_store_that_no_gateway_has_brought_up_to_date_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreDown, match="no such column"):
        list(audits_of(made_before(tmp_path, "0001"), "auto"))
