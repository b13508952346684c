"""A real PostgreSQL that goes away, stands still, is another one than before, or lets nobody in."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.test_commands import run
from fakes.postgres import PASSWORD, USER, WRITTEN_PASSWORD, Cluster, cluster
from fakes.stores import Place, audit, count, decision, make_tables, rows, running_store, store_of, until
from structlog.testing import capture_logs

from server.store.database import Database
from server.store.records import Feedback, StoreDown, Texts, new_id


@pytest.fixture
def own() -> Iterator[Cluster]:
    """One that a test may treat as it likes."""
    with cluster() as running:
        yield running


async def test_a_database_that_is_down_blocks_nobody_and_loses_nothing(own: Cluster, tmp_path: Path) -> None:
    place = Place(tmp_path, own.url(own.new_database()))
    async with running_store(place) as store:
        before, during = ([decision() for _ in range(50)] for _ in range(2))
        assert all(map(store.keeper.keep, before))
        await until(lambda: count(place) == 50)

        own.stop(signal.SIGQUIT)
        assert all(map(store.keeper.keep, during))
        assert store.keeper.keep(audit())
        await until(lambda: store.failures > 0)
        found = await store.keeper.find(during[-1].response_id)
        with pytest.raises(StoreDown):
            await store.keeper.find(before[0].response_id)
        own.start()
        await until(lambda: count(place) == 100 and count(place, "audits") == 1)
        again = await store.keeper.find(before[0].response_id)

    assert found is not None
    assert found.decision == during[-1]
    assert again is not None


async def test_a_gateway_starts_and_ends_while_its_database_is_down(own: Cluster, tmp_path: Path) -> None:
    place = Place(tmp_path, own.url(own.new_database()))
    own.stop()
    async with asyncio.timeout(30), running_store(place) as store:
        assert store.keeper.keep(decision())
        await until(lambda: store.failures > 0)
    own.start()

    async with running_store(place):
        await until(lambda: count(place) == 1)


async def test_a_database_that_stands_still_holds_up_nobody_for_long(own: Cluster, tmp_path: Path) -> None:
    place = Place(tmp_path, own.url(own.new_database()))
    async with running_store(place, write_s=0.5) as store:
        store.keeper.keep(decision())
        await until(lambda: count(place) == 1)
        own.stand_still()
        try:
            store.keeper.keep(decision())
            await until(lambda: store.failures > 0)
            with pytest.raises(StoreDown):
                await store.keeper.find("unknown")
        finally:
            own.go_on()
        await until(lambda: count(place) == 2)


async def test_connections_that_an_administrator_ends_are_made_again(postgresql: Cluster, place_there: Place) -> None:
    async with running_store(place_there) as store:
        store.keeper.keep(decision())
        await until(lambda: count(place_there) == 1)
        ended = end_connections(postgresql, place_there.url.rpartition("/")[2])

        assert await store.keeper.find("unknown") is None
        store.keeper.keep(decision())
        await until(lambda: count(place_there) == 2)

    assert ended


async def test_a_database_that_was_dropped_and_made_again_is_filled_again(
    postgresql: Cluster, place_there: Place
) -> None:
    name = place_there.url.rpartition("/")[2]
    async with running_store(place_there) as store:
        store.keeper.keep(decision())
        await until(lambda: count(place_there) == 1)
        postgresql.run("postgres", f"DROP DATABASE {name} WITH (FORCE)")
        kept = [decision() for _ in range(5)]
        assert all(map(store.keeper.keep, kept))
        await until(lambda: store.failures > 0)
        postgresql.run("postgres", f"CREATE DATABASE {name}")

        await until(lambda: count(place_there) == 5)


async def test_a_gateway_that_is_being_replaced_goes_on_over_the_tables_of_the_next_version(
    postgresql: Cluster, place_there: Place
) -> None:
    name = place_there.url.rpartition("/")[2]
    async with running_store(place_there) as store:
        one = decision()
        store.keeper.keep(one)
        await until(lambda: count(place_there) == 1)
        assert await store.keeper.find(one.id)

        rows(place_there, "ALTER TABLE decisions ADD COLUMN mood TEXT")
        rows(place_there, "UPDATE alembic_version SET version_num = '9999'")
        store.keeper.keep(decision())
        await until(lambda: count(place_there) == 2)
        postgresql.run("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        end_connections(postgresql, name)
        store.keeper.keep(decision())
        await until(lambda: store.failures > 0)
        postgresql.run("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await until(lambda: count(place_there) == 3)
        assert await store.keeper.find(one.id)

    fresh = Database(place_there.url)
    with pytest.raises(StoreDown, match="later version"):
        await fresh.prepare()
    await fresh.close()


@pytest.mark.parametrize(
    ("database", "how", "said"),
    [
        ("postgres", {"password": "wr0ng"}, "InvalidPasswordError: password authentication failed"),
        ("missing", {}, 'InvalidCatalogNameError: database "missing" does not exist'),
        ("postgres", {"options": "?sslmode=require"}, "rejected SSL upgrade"),
        ("postgres", {"options": "?sslmode=perhaps"}, "`sslmode` parameter must be one of"),
        ("postgres", {"options": "?colour=red"}, 'unrecognized configuration parameter "colour"'),
    ],
    ids=["wrong password", "no such database", "no TLS", "no such mode", "no such option"],
)
async def test_a_database_that_lets_nobody_in_is_told_of_without_its_password(
    postgresql: Cluster, database: str, how: dict[str, str], said: str, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        async with running_store(Place(tmp_path, postgresql.url(database, **how))) as store:
            assert store.keeper.keep(decision())
            await until(lambda: store.failures > 0)

    told = next(one for one in logs if one["event"] == "store cannot be written to")
    assert said in told["cause"]
    assert not any(secret in str(logs) for secret in (PASSWORD, WRITTEN_PASSWORD, "wr0ng"))


async def test_who_may_not_make_tables_is_told_and_keeps_records_once_they_are_there(
    postgresql: Cluster, place_there: Place, tmp_path: Path
) -> None:
    name = place_there.url.rpartition("/")[2]
    if not postgresql.run("postgres", "SELECT 1 FROM pg_roles WHERE rolname = 'writer'"):
        postgresql.run("postgres", "CREATE ROLE writer LOGIN PASSWORD 'writes'")
    poor = Place(tmp_path, place_there.url.replace(f"{USER}:{WRITTEN_PASSWORD}", "writer:writes"))
    with capture_logs() as logs:
        async with running_store(poor) as store:
            store.keeper.keep(decision())
            await until(lambda: store.failures > 0)
    await make_tables(place_there)
    postgresql.run(name, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer")

    async with running_store(poor):
        await until(lambda: count(place_there) == 1)

    assert any("permission denied for schema public" in str(one.get("cause")) for one in logs)


async def test_a_value_that_a_column_does_not_hold_holds_up_nothing(place_there: Place) -> None:
    store = store_of(place_there)
    for record in (decision(cascade="x" * 65), audit(draft_tokens=2**31), decision()):
        assert store.keeper.keep(record)

    await store.close()

    assert (count(place_there), count(place_there, "audits")) == (1, 0)
    assert store.dropped("refused") == 2


async def test_connections_are_encrypted_where_the_url_says_so(tmp_path: Path) -> None:
    with cluster() as encrypted:
        encrypted.stop()
        certificate = encrypted.certify()
        encrypted.start("ssl=on")
        name = encrypted.new_database()
        told = {}
        for options in ("?sslmode=require", f"?sslmode=verify-full&sslrootcert={certificate}", "?sslmode=disable"):
            database = Database(encrypted.url(name, options=options))
            told[options.partition("&")[0]] = await database.read(is_encrypted)
            await database.close()
        stranger = tmp_path / "stranger.pem"
        stranger.write_bytes(encrypted.certify("stranger").read_bytes())
        wary = Database(encrypted.url(name, options=f"?sslmode=verify-full&sslrootcert={stranger}"))
        with pytest.raises(StoreDown, match="certificate"):
            await wary.prepare()
        await wary.close()

    assert told == {"?sslmode=require": True, "?sslmode=verify-full": True, "?sslmode=disable": False}


async def test_the_store_can_be_read_without_a_gateway(place_there: Place) -> None:
    one = decision(texts=Texts({"messages": [{"role": "user", "content": "is it?"}]}, "yes", {}))
    store = store_of(place_there)
    for record in (one, Feedback(new_id(), one.id, 1.0, label="right")):
        store.keeper.keep(record)
    await store.close()

    explained = await run("explain", one.id, "--store", place_there.url)
    prompts = await run("prompts", place_there.url)
    wrong = await run("explain", one.id, "--store", place_there.url.replace(WRITTEN_PASSWORD, "wr0ng"))

    assert explained[0] == prompts[0] == 0
    assert "feedback: right" in explained[1]
    assert '"gold":"yes"' in prompts[1]
    assert wrong[0] == 1
    assert "password authentication failed" in wrong[2]
    assert "wr0ng" not in wrong[2]


async def test_a_plan_says_where_the_store_is_without_its_password(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "tiers: {small: {model: x, price: {input: 1, output: 1}, urls: ['http://a:1']}}\n"
        f"store: {{url: 'postgresql://me:s3cret@there:5432/kept', folder: {tmp_path}}}\n"
    )

    code, out, _ = await run("check", str(file), COLUMNS="200")

    assert code == 0
    assert f"in PostgreSQL, kept at there:5432; journal in {tmp_path}" in out
    assert "s3cret" not in out


@pytest.fixture
def place_there(postgresql: Cluster, tmp_path: Path) -> Place:
    """An empty database, and the folder of a journal."""
    return Place(tmp_path, postgresql.url(postgresql.new_database()))


def end_connections(postgresql: Cluster, database: str) -> list[tuple[bool]]:
    """End those of gateways to a database, as its administrator can."""
    ending = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'smallfirst'"
    )
    return postgresql.run("postgres", ending, database)


async def is_encrypted(connection) -> bool:
    """Whether this connection is."""
    asking = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    return bool((await connection.exec_driver_sql(asking)).scalar_one())
