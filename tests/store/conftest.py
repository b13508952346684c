"""Stores over both kinds of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.postgres import Cluster, cluster
from fakes.stores import Place, place_of


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A real PostgreSQL, for all tests that leave it as it is but for databases of their own."""
    with cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database of each kind in turn, and the folder of a journal."""
    if request.param == "sqlite":
        return place_of(tmp_path)
    running: Cluster = request.getfixturevalue("postgresql")
    return Place(tmp_path, running.url(running.new_database()))
