"""Limits, as the operator says them."""

from pathlib import Path

import pytest

from server.access.caller import Allowance
from server.cli.check import run_check
from server.limits.account import allowed
from server.settings.reading import SettingsError, read_settings

TIER = "{model: x, price: {input: 1, output: 1}, urls: [http://a:1]}"
TIERS = f"tiers: {{small: {TIER}, large: {TIER}}}\ncascades: {{auto: {{tiers: [small, large], threshold: 0.5}}}}\n"


def written(folder: Path, more: str) -> Path:
    """A configuration."""
    file = folder / "gateway.yaml"
    file.write_text(TIERS + more)
    return file


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://u:p@h", "unix:///run/redis.sock", "memory"])
def test_limits_are_kept_in_memory_or_in_redis(url: str, tmp_path: Path) -> None:
    read_settings(written(tmp_path, f"limits: {{url: '{url}'}}"), {})


@pytest.mark.parametrize("url", ["'http://h'", "'redis://'", "'redis://h:0'", "'redis://h:x'", "7", "''", "null"])
def test_other_places_are_refused_with_what_to_write(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(written(tmp_path, f"limits: {{url: {url}}}"), {})

    assert "limits.url" in str(caught.value)
    assert "redis://redis:6379/0" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://:hunter2@a:26379/mymaster", "sentinel://a", "rediss+sentinel://a", "redis-cluster://a:6379",
     "redis://:hunter2@a:6379,b:6379/0", "redis://a,b"],
)  # fmt: skip
def test_several_servers_are_refused_with_what_to_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Sentinel and Redis Cluster are not spoken here") as caught:
        read_settings(written(tmp_path, f"limits: {{url: '{url}'}}"), {})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        "limits: {default: {requests_per_minute: -1}}",
        "limits: {default: {cost_per_day: .inf}}",
        "limits: {default: {models: [small]}}",
        "limits: {unstated_tokens: 0}",
    ],
)
def test_odd_limits_are_refused(more: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="limits"):
        read_settings(written(tmp_path, more), {})


def test_a_password_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "limits: {default: {requests_per_minute: 60, cost_per_day: 0.5}}")
    environment = {"SMALLFIRST_LIMITS__URL": "redis://:secret@redis:6379/0", "HOME": "/h"}

    assert run_check(file, environment) == 0
    assert "secret" not in repr(read_settings(file, environment))

    printed = capsys.readouterr().out
    assert "limits: kept in Redis; a caller without its own has requests per minute: 60, cost per day: 0.5" in printed
    assert "secret" not in printed


def test_the_check_says_who_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(TIERS.replace("threshold: 0.5", "threshold: 0.5, queue: {at_once: 8}"))

    assert run_check(file, {"HOME": "/h"}) == 0

    assert "cascade auto: 8 requests at once, 100 may wait 30 s for that" in capsys.readouterr().out


def test_a_callers_own_limits_come_before_the_defaults() -> None:
    own = Allowance(requests_per_minute=0, cost_per_day=0.0, models=frozenset({"small"}))
    default = Allowance(requests_per_minute=5, tokens_per_minute=7, cost_per_day=9.0, priority=2)

    assert allowed(own, default) == Allowance(
        models=frozenset({"small"}), requests_per_minute=0, tokens_per_minute=7, cost_per_day=0.0, priority=2
    )
    assert allowed(own, None) is own
