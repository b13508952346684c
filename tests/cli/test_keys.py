"""`smallfirst keys`: on the machine, whether a gateway runs or not."""

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.access.caller import Allowance
from server.access.key import digest_of, parts_of
from server.cli.keys import at_keys, run_change, run_create, run_list, run_revoke, run_rotate
from server.cli.main import app

CONFIG = """
tiers: {small: {model: x, price: {input: 1, output: 1}, urls: [http://a:1]}}
server: {auth: keys}
store: {folder: kept}
"""
PLAIN = {"name": "app", "allowance": {}, "task": None, "is_admin": False}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


def created(config: Path, capsys: pytest.CaptureFixture[str], **fields: object) -> str:
    """A new key's text."""
    assert run_create(config, {}, {**PLAIN, **fields}, days=None) == 0
    return capsys.readouterr().out.strip()


def test_a_key_alone_is_printed_and_listed_without_its_secret(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = created(config, capsys, allowance={"models": ["small"], "requests_per_minute": 5}, is_admin=True)

    assert run_list(config, {}, revoked=False) == 0

    identity, secret = parts_of(key)
    listed = capsys.readouterr().out
    assert identity in listed
    assert "app (admin)" in listed
    assert "5 requests/min" in listed
    assert secret not in listed
    assert digest_of(secret) not in listed


def test_a_rotated_key_has_another_secret_and_a_revoked_one_is_out_of_the_list(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = created(config, capsys)
    identity = key[:11]

    assert run_rotate(config, {}, identity, grace_s=0) == 0
    renewed = capsys.readouterr().out.strip()
    assert run_revoke(config, {}, identity) == 0
    assert run_revoke(config, {}, identity) == 1
    assert "no key" in capsys.readouterr().err
    run_list(config, {}, revoked=False)
    assert identity not in capsys.readouterr().out
    run_list(config, {}, revoked=True)

    assert "revoked" in capsys.readouterr().out
    assert renewed[:11] == identity
    assert renewed != key


def test_a_name_that_a_terminal_would_obey_is_shown_without_that(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = created(config, capsys, name="a\x9b2Jb\u202ec")

    run_list(config, {}, revoked=False)
    run_revoke(config, {}, key[:11])

    said = capsys.readouterr()
    assert "a?2Jb?c" in said.out
    assert "a?2Jb?c" in said.err


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({"allowance": {"models": ["nobody"]}}, "there is no 'nobody' (there are: small)"),
        ({"allowance": {"modes": ["wild"]}}, "allowance.modes"),
        ({"allowance": {"requests_per_minute": 0}}, "allowance.requests_per_minute"),
        ({"name": ""}, "name"),
    ],
)
def test_a_key_that_cannot_be_is_told(config: Path, fields: dict, mistake: str, capsys) -> None:
    assert run_create(config, {}, {**PLAIN, **fields}, days=None) == 2

    said = capsys.readouterr()
    assert mistake in said.err
    assert said.out == ""


def test_what_is_said_of_a_key_changes_and_the_rest_stays(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = {"models": ["small"], "requests_per_minute": 5, "cost_per_day": 1.0}
    key = created(config, capsys, allowance=limits, task="sums")
    identity = key[:11]

    change = ("keys", "change", str(config), identity, "--requests-per-minute", "7", "--priority", "3", "--admin",
              "--days", "30", "--without", "cost-per-day", "--without", "models")  # fmt: skip
    assert CliRunner().invoke(app, change).exit_code == 0

    (kept,) = at_keys(config, {}, lambda table: table.all())
    assert kept.allowance == Allowance(requests_per_minute=7, priority=3)
    assert (kept.is_admin, kept.task, kept.name) == (True, "sums", "app")
    assert kept.is_of(key[12:], time.time())
    assert kept.expires == pytest.approx(time.time() + 30 * 86400, abs=60)

    taken = ("keys", "change", str(config), identity, "--no-admin", "--without", "end", "--without", "task",
             "--model", "small", "--name", "new")  # fmt: skip
    assert CliRunner().invoke(app, taken).exit_code == 0
    (kept,) = at_keys(config, {}, lambda table: table.all())
    assert (kept.is_admin, kept.task, kept.name, kept.expires) == (False, None, "new", None)
    assert kept.allowance == Allowance(models=frozenset({"small"}), requests_per_minute=7, priority=3)


@pytest.mark.parametrize(
    ("fields", "without", "mistake"),
    [
        ({}, (), "nothing is to be otherwise"),
        ({"allowance": {"models": ["nobody"]}}, (), "there is no 'nobody' (there are: small)"),
        ({"allowance": {"requests_per_minute": 0}}, (), "allowance.requests_per_minute"),
        ({"allowance": {"cost_per_day": float("nan")}}, (), "allowance.cost_per_day"),
        ({"allowance": {"cost_per_day": 1.0}}, ("cost-per-day",), "--without cost-per-day"),
        ({"task": "sums"}, ("task",), "--without task"),
        ({"name": "a\nb"}, (), "name"),
    ],
)
def test_a_change_that_cannot_be_is_told_and_changes_nothing(
    config: Path, fields: dict, without: tuple[str, ...], mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = created(config, capsys)
    before = at_keys(config, {}, lambda table: table.all())

    assert run_change(config, {}, key[:11], fields, days=None, without=without) == 2

    said = capsys.readouterr()
    assert mistake in said.err
    assert said.out == ""
    assert at_keys(config, {}, lambda table: table.all()) == before


def test_a_key_that_is_not_there_cannot_be_changed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = created(config, capsys)
    run_revoke(config, {}, key[:11])

    assert run_change(config, {}, key[:11], {"name": "new"}, days=None) == 1
    assert run_change(config, {}, key, {"name": "new"}, days=None) == 1

    assert key[12:] not in capsys.readouterr().err


def test_a_whole_key_in_place_of_its_id_is_not_repeated(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = created(config, capsys)

    assert run_revoke(config, {}, key) == 1

    assert key[12:] not in capsys.readouterr().err


def test_a_store_that_cannot_be_had_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "kept").write_text("a file")

    assert run_list(config, {}, revoked=False) == 1
    assert "kept" in capsys.readouterr().err


def test_without_a_place_for_keys_there_are_none(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG.replace("store: {folder: kept}", ""), encoding="utf-8")

    assert run_list(config, {}, revoked=False) == 2
    assert "store.folder" in capsys.readouterr().err
