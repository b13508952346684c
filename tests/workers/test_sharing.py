"""What workers have in common, and what each has its part of."""

from pathlib import Path

import pytest

from server.settings.reading import SettingsError, read_settings
from server.workers.sharing import part_of

TIER = "{model: x, price: {input: 1, output: 1}, urls: [http://a:1], cold: {requests: 5}}"
CONFIG = """
tiers: {{small: {tier}, large: {tier}}}
cascades:
  auto: {{tiers: [small, large], threshold: 0.5, queue: {{at_once: 7, waiting: 2}}, audits: {audits}}}
  free: {{tiers: [small, large], threshold: 0.5}}
"""
AUDITS = "{rate: 0.1, spend_per_day: 3.0}"


def written(folder: Path, more: str) -> Path:
    """A configuration."""
    file = folder / "gateway.yaml"
    file.write_text(CONFIG.format(tier=TIER, audits=AUDITS) + more)
    return file


def test_the_parts_of_all_workers_add_up_to_the_whole(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "server: {workers: 3}\nstore: {url: none}"), {})
    parts = [part_of(settings, place) for place in range(3)]

    queues = [part.cascades["auto"].queue for part in parts]
    assert [queue.at_once for queue in queues] == [3, 2, 2]
    assert [queue.waiting for queue in queues] == [1, 1, 0]
    assert [part.tiers["small"].cold.requests for part in parts if part.tiers["small"].cold] == [2, 2, 1]
    assert [part.cascades["auto"].audits.spend_per_day for part in parts] == [1.0, 1.0, 1.0]
    assert {part.cascades["free"].queue.at_once for part in parts} == {None}


def test_where_workers_read_each_others_audits_their_money_is_not_divided(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "server: {workers: 3}"), {})

    assert part_of(settings, 1).cascades["auto"].audits.spend_per_day == 3.0


def test_one_worker_has_it_all(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "store: {url: none}"), {})

    assert part_of(settings, 0) is settings


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ("server: {workers: 2, auth: keys}", "limits.url: 'memory' counts in one process"),
        ("server: {workers: 2}\nlimits: {default: {cost_per_day: 1}}", "limits.url: 'memory' counts in one process"),
        ("server: {workers: 8}", "cascades.auto.queue.at_once: 7 cannot be divided"),
        ("server: {workers: 0}", "server.workers"),
    ],
)
def test_what_workers_cannot_share_is_refused_with_what_to_do(tmp_path: Path, more: str, mistake: str) -> None:
    with pytest.raises(SettingsError, match=mistake):
        read_settings(written(tmp_path, more), {})


@pytest.mark.parametrize(
    "more",
    [
        "server: {workers: 2, auth: keys}\nlimits: {url: 'redis://h:6379/0'}",
        "server: {workers: 2}\nlimits: {default: {priority: 3}}",
        "server: {workers: 1, auth: keys}\nlimits: {default: {cost_per_day: 1}}",
    ],
)
def test_limits_are_kept_together_or_by_one(tmp_path: Path, more: str) -> None:
    read_settings(written(tmp_path, more), {})
