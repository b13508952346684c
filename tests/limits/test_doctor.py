"""What the doctor says of the Redis that limits are counted in."""

from pathlib import Path

from fakes.redis import running_redis

from server.doctor.limiting import of_limits
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
