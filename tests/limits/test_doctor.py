"""What the doctor says of the Redis that limits are counted in."""

import asyncio
from pathlib import Path

from fakes.redis import running_redis
from redis.exceptions import ResponseError

from models.launcher.program import free_ports
from server.doctor.limiting import of_limits
from server.limits.link import why
from server.settings.limits import LimitsSettings


def settings(url: str) -> LimitsSettings:
    """Limits that are kept there."""
    return LimitsSettings.model_validate({"url": url, "timeout_s": 5.0})


async def test_a_redis_that_does_what_it_must_is_well(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as redis:
        (finding,) = await of_limits(settings(redis.url))

    assert finding.level == "good"


async def test_a_redis_that_is_away_or_refuses_is_named_without_its_password(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as redis:
        (refused,) = await of_limits(settings(redis.url.replace("//", "//nobody:hunter2@")))
    (away,) = await of_limits(settings(redis.url))

    for finding in (refused, away):
        assert finding.level == "problem"
        assert f"127.0.0.1:{redis.port}" in finding.said
        assert "limits.url" in (finding.fix or "")
    assert "hunter2" not in repr(refused)


async def test_there_is_nothing_to_say_of_memory() -> None:
    assert await of_limits(LimitsSettings()) == []


async def test_a_node_of_a_cluster_is_none_for_limits_whether_it_has_all_slots_or_not(tmp_path: Path) -> None:
    (between_nodes,) = free_ports(1)  # Redis would take a port 10,000 higher, which is none for a high one
    async with running_redis(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(between_nodes)) as node:
        (without,) = await of_limits(settings(node.url))
        assert await node.told("CLUSTER ADDSLOTSRANGE 0 16383") == b"+OK"
        while await node.told("GET x") != b"$-1":  # noqa: ASYNC110 - it says so to nobody
            await asyncio.sleep(0.02)
        (with_all,) = await of_limits(settings(node.url))

    for finding in (without, with_all):
        assert finding.level == "problem"
        assert "it is a node of a Redis Cluster" in finding.said


async def test_a_replica_is_told_from_its_primary(tmp_path: Path) -> None:
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
    async with running_redis(tmp_path / "primary") as primary, running_redis(tmp_path / "replica") as replica:
        assert await replica.told(f"REPLICAOF 127.0.0.1 {primary.port}") == b"+OK"
        (finding,) = await of_limits(settings(replica.url))
        (well,) = await of_limits(settings(primary.url))

    assert "it is a replica: name the primary" in finding.said
    assert well.level == "good"


def test_what_only_a_sentinel_says_is_known() -> None:
    said = "unknown command 'EVALSHA', with args beginning with: '2ca00147a87933b698f7a3591b8ce261c765fbea' '4' "

    assert "Redis Sentinel" in why(ResponseError(said))
    assert "NOPERM" in why(ResponseError("NOPERM no"))
