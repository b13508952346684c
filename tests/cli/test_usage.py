"""`smallfirst usage` as an operator runs it."""

import json
import re
from pathlib import Path

import pytest
from cli.test_commands import run
from fakes.stores import decision, store_of

from server.store.records import Step

DRAFTED = Step("small", "sure", prompt_tokens=10, completion_tokens=3, cost=0.5)


async def filled(folder: Path) -> None:
    """Three requests: two of a key, one without."""
    store = store_of(folder)
    for key, day in (("one", 10957), ("one", 10958), (None, 10958)):
        store.keeper.keep(decision(steps=(DRAFTED,), key=key, time=86400.0 * day, cost=0.5, cost_final_alone=2.0))
    await store.close()


async def test_usage_is_a_table_of_what_is_asked_for(tmp_path: Path) -> None:
    await filled(tmp_path)

    code, out, err = await run("usage", "--store", str(tmp_path), "--by", "key,day", COLUMNS="40")

    assert (code, err) == (0, "")
    assert re.search(
        r"key +day +requests +answered +accepted +escalated +tokens in +tokens out +cost +saved \(est", out
    )
    assert re.search(r"-  +2000-01-02 +1 +1 +1 +0 +10 +3 +0\.5 +1\.5", out)
    assert re.search(r"one +2000-01-01 +1 +1", out)
    assert re.search(r"all +3 +3 +3 +0 +30 +9 +1\.5 +4\.5", out)


async def test_usage_is_json_of_a_configurations_store(tmp_path: Path) -> None:
    await filled(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "tiers: {small: {model: x, price: {input: 1, output: 1}, urls: ['http://a:1']}}\n"
        f"store: {{folder: {tmp_path}}}\n"
    )

    code, out, _ = await run("usage", str(file), "--by", "tier", "--since", "2000-01-02", "--key", "one", "--json")

    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert (row["tier"], row["requests"], row["saved_estimate"]) == ("small", 1, 1.5)


async def test_a_store_without_usage_has_none(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    await store.close()

    code, out, _ = await run("usage", "--store", str(tmp_path), "--since", "7d", "--json")

    assert code == 0
    assert json.loads(out)["rows"] == []
    assert json.loads(out)["total"]["requests"] == 0


@pytest.mark.parametrize(
    ("options", "code", "mistake"),
    [
        (("--by", "colour"), 2, "there is no 'colour'"),
        (("--since", "yesterday"), 2, "is no day"),
        (("--since", "99999999999d"), 2, "is no day"),
        (("--store", "/nowhere"), 1, "error: the store cannot be read: there is no database /nowhere/smallfirst.db"),
        (("--store", "none:"), 1, "error: the store cannot be read: --store: a folder is wanted"),
        (("/nowhere.yaml",), 2, "/nowhere.yaml"),
    ],
)
async def test_what_does_not_do_is_told(options: tuple[str, ...], code: int, mistake: str) -> None:
    told = await run("usage", *options, COLUMNS="200")

    assert (told[0], told[1]) == (code, "")
    assert mistake in told[2]
