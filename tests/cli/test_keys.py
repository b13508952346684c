"""`smallfirst keys`: on the machine, whether a gateway runs or not."""

from pathlib import Path

import pytest

from server.access.key import digest_of, parts_of
from server.cli.keys import run_create, run_list, run_revoke, run_rotate

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
