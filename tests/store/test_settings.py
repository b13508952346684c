"""Where the store is, as the operator says it."""

from pathlib import Path

import pytest

from server.settings.reading import SettingsError, read_settings
from server.store.home import Home, home_of, state_folder

TIERS = "tiers: {small: {model: x, price: {input: 1, output: 1}, urls: [http://a:1]}}\n"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, Path("/s/smallfirst")),
        ({"HOME": "/h"}, Path("/h/.local/state/smallfirst")),
        ({"XDG_STATE_HOME": "not/whole", "HOME": "/h"}, Path("/h/.local/state/smallfirst")),
        ({"XDG_STATE_HOME": "", "HOME": ""}, None),
        ({}, None),
    ],
)
def test_state_is_where_programs_keep_theirs(environment: dict[str, str], folder: Path | None) -> None:
    assert state_folder(environment) == folder


@pytest.mark.parametrize(
    ("store", "home"),
    [
        ("{}", Home(Path("/s"), "sqlite:////s/smallfirst.db", False)),
        ("{folder: /f}", Home(Path("/f"), "sqlite:////f/smallfirst.db", True)),
        ("{url: 'sqlite:////d/a.db'}", Home(Path("/d"), "sqlite:////d/a.db", True)),
        ("{url: 'sqlite:////d/a.db', folder: /f}", Home(Path("/f"), "sqlite:////d/a.db", True)),
        ("{url: 'postgresql://me:secret@there/x'}", Home(Path("/s"), "postgresql://me:secret@there/x", True)),
        (
            "{url: 'postgres://one:1,[::1]:2/x?sslmode=require', folder: /f}",
            Home(Path("/f"), "postgres://one:1,[::1]:2/x?sslmode=require", True),
        ),
        ("{url: 'postgresql:///x', folder: /f}", Home(Path("/f"), "postgresql:///x", True)),
        ("{url: none}", None),
    ],
)
def test_the_store_is_where_the_settings_say(store: str, home: Home | None, tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, store), {})

    assert home_of(settings.store, Path("/s")) == home


def test_a_databases_password_is_in_no_representation(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "{url: 'postgresql://me:secret@there/x'}"), {})

    assert "secret" not in f"{settings!r} {home_of(settings.store, Path('/s'))!r}"


def test_a_folder_may_be_beside_the_configuration(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "{folder: kept}"), {})

    assert settings.store.folder == tmp_path / "kept"


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    assert home_of(read_settings(written(tmp_path, "{}"), {}).store, None) is None


@pytest.mark.parametrize(
    ("store", "mistake"),
    [
        ("{url: 'sqlite:///here.db'}", "whole path"),
        ("{url: 'sqlite://'}", "whole path"),
        ("{url: 'sqlite:///:memory:'}", "whole path"),
        ("{url: 'sqlite:////d/a.db?mode=ro'}", "whole path"),
        ("{url: 'mysql://me:secret@there/x'}", "whole path"),
        ("{url: 'postgresql://me:secret@there'}", "as %XX"),
        ("{url: 'postgresql://me:secret/with/slashes@there/x'}", "as %XX"),
        ("{url: 'postgresql://me:secret#@there/x'}", "as %XX"),
        ("{url: 'postgresql://me:secret@there:99999/x'}", "as %XX"),
        ("{url: 'postgresql://me:secret@one:5432,two:x/x'}", "as %XX"),
        ("{url: 'postgresql://me:secret@[one/x'}", "as %XX"),
        ("{url: 'postgresql://me:secret@there/x y'}", "as %XX"),
        ("{url: 7}", "whole path"),
        ("{url: none, texts: true}", "keeps nothing"),
        ("{url: none, folder: /f}", "keeps nothing"),
        ("{texts: 1}", "boolean"),
        ("{keep_days: 0}", "greater than 0"),
        ("{evidence_tokens: -1}", "greater than or equal to 0"),
        ("{journal_max_bytes: 10}", "greater than or equal to"),
        ("{folder: 7}", "the path of a folder"),
        ("{folder: ''}", "the path of a folder"),
        ("{redact: ['(']}", "is no regular expression of RE2 (missing ): ()"),
        ("{redact: '(a)'}", "redact"),
        ("{wings: 2}", "unknown key"),
    ],
)
def test_a_store_that_cannot_be_is_told(store: str, mistake: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as wrong:
        read_settings(written(tmp_path, store), {})

    assert [one.partition(":")[0].partition(".")[0] for one in wrong.value.mistakes] == ["store"]
    assert mistake in str(wrong.value)
    assert "secret" not in str(wrong.value)


def written(folder: Path, store: str) -> Path:
    """A configuration with this store."""
    file = folder / "configuration.yaml"
    file.write_text(f"{TIERS}store: {store}\n")
    return file
