"""What is said where a request's work has grown."""

from speed.recorded import Count, complaint

BEFORE = Count({"router/checks.py": 6000, "router/call.py": 4000, "libraries": 1000}, {"orjson.dumps": 2})


def changed(dear: int = 2, **instructions: int) -> Count:
    return Count({**BEFORE.instructions, **instructions}, {"orjson.dumps": dear})


def said_of(now: Count) -> str:
    return complaint("accepted", BEFORE, now, within=0.05)


def test_growth_within_the_tolerance_passes() -> None:
    assert said_of(changed(**{"router/checks.py": 6550})) == ""


def test_growth_beyond_it_names_the_part_and_the_command() -> None:
    said = said_of(changed(**{"router/checks.py": 6551}))

    assert "router 10,000 -> 10,551 instructions" in said
    assert "router/checks.py: 6,000 -> 6,551" in said
    assert "router/call.py" not in said
    assert "make record-work" in said


def test_a_room_does_not_grow_behind_a_larger_one() -> None:
    assert "server/store 0 -> 51 instructions" in said_of(changed(**{"server/store/story.py": 51}))


def test_work_that_went_to_libraries_is_seen() -> None:
    assert said_of(changed(libraries=1250)) == ""
    assert "libraries 1,000 -> 1,251 instructions" in said_of(changed(libraries=1251))


def test_one_more_dear_call_is_one_too_many() -> None:
    assert said_of(changed(dear=1)) == ""
    assert "orjson.dumps is called 3 times instead of 2" in said_of(changed(dear=3))
