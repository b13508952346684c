"""What a store costs a gateway that starts: as good as nothing where its tables are as they should be."""

import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from fakes.stores import place_of

from server.store.database import Database
from server.store.migrating import MIGRATIONS, newest

PREPARED = """
import asyncio, sys
from server.store.database import Database

async def prepared(url):
    database = Database(url)
    await database.prepare()
    await database.close()

asyncio.run(prepared(sys.argv[1]))
print(*sorted({"alembic", "asyncpg", "re2", "sqlalchemy.dialects.postgresql"} & sys.modules.keys()))
"""


async def test_what_tables_that_are_current_do_not_need_is_not_imported(tmp_path: Path) -> None:
    url = place_of(tmp_path).url
    database = Database(url)
    await database.prepare()
    await database.close()

    assert imported_by(url) == []


def test_tables_that_are_missing_are_made(tmp_path: Path) -> None:
    assert "alembic" in imported_by(place_of(tmp_path).url)


def imported_by(url: str) -> list[str]:
    """Which libraries a process takes that prepares the database."""
    command = [sys.executable, "-c", PREPARED, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own program
    return said.stdout.split()


def test_the_newest_step_by_the_names_of_files_is_the_one_that_alembic_would_end_at() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    assert newest() == ScriptDirectory.from_config(config).get_current_head()
