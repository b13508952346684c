"""Whose turn it is: every caller gets its share, nobody starves, and the longest queue is cut first."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from server.limits.fair import FairQueue, Place

MOST_COST = 50
COSTS = st.integers(1, MOST_COST)
CALLERS = st.sampled_from("abcde")


def waiting(queue: FairQueue, caller: str, cost: int = 1, priority: int = 0) -> Place:
    """A request that has joined."""
    place = Place(caller, priority, cost)
    queue.arrive(place)
    queue.join(place)
    return place


def served(queue: FairQueue, count: int) -> list[Place]:
    """The next ones."""
    return [queue.serve() for _ in range(count)]


def test_callers_go_by_turns_however_many_requests_one_sends() -> None:
    queue = FairQueue()
    for _ in range(10):
        waiting(queue, "greedy")
    waiting(queue, "modest")

    assert "modest" in [place.caller for place in served(queue, 2)]


def test_who_asks_for_more_tokens_goes_less_often() -> None:
    queue = FairQueue()
    for _ in range(40):
        waiting(queue, "long", cost=30)
        waiting(queue, "short", cost=10)

    turns = Counter(place.caller for place in served(queue, 40))

    assert turns["short"] == 3 * turns["long"]


def test_the_higher_priority_goes_first() -> None:
    queue = FairQueue()
    for priority in (0, 2, -1, 1):
        waiting(queue, "a", priority=priority)

    assert [place.priority for place in served(queue, 4)] == [2, 1, 0, -1]


def test_one_callers_requests_keep_their_order() -> None:
    queue = FairQueue()
    places = [waiting(queue, "a", cost=cost) for cost in (5, 1, 3)]

    assert served(queue, 3) == places


def test_the_newest_of_the_lowest_priority_is_spared() -> None:
    queue = FairQueue()
    waiting(queue, "a", priority=1)
    waiting(queue, "b", priority=0)
    newest = waiting(queue, "c", priority=0)
    urgent = Place("d", 2, 1)
    queue.arrive(urgent)

    assert queue.spare(urgent) is newest


def test_the_newcomer_is_spared_where_all_have_as_much() -> None:
    queue = FairQueue()
    waiting(queue, "a")
    newcomer = Place("b", 0, 1)
    queue.arrive(newcomer)

    assert queue.spare(newcomer) is newcomer


def test_who_fills_the_queue_makes_room_for_others() -> None:
    queue = FairQueue()
    mine = [waiting(queue, "greedy") for _ in range(5)]
    newcomer = Place("modest", 0, 1)
    queue.arrive(newcomer)

    assert queue.spare(newcomer) is mine[-1]


def test_who_comes_and_goes_leaves_nothing_behind_and_owes_nothing() -> None:
    queue = FairQueue()
    other = waiting(queue, "other")
    for _ in range(10_000):
        queue.leave(waiting(queue, "restless", cost=50))
    mine = waiting(queue, "restless")

    assert len(queue) == 2
    assert served(queue, 2) == [other, mine]


@given(st.lists(st.tuples(CALLERS, COSTS), min_size=1, max_size=60))
def test_all_who_wait_are_served_once(requests: list[tuple[str, int]]) -> None:
    queue = FairQueue()
    places = [waiting(queue, caller, cost) for caller, cost in requests]

    assert set(served(queue, len(places))) == set(places)
    assert len(queue) == 0


@given(st.lists(COSTS, min_size=30, max_size=60), st.lists(COSTS, min_size=30, max_size=60), st.integers(1, 30))
def test_two_who_always_wait_get_as_much_to_within_two_requests(mine: list[int], others: list[int], count: int) -> None:
    """The bound of start-time fair queueing: each caller's largest request."""
    queue = FairQueue()
    for caller, costs in (("a", mine), ("b", others)):
        for cost in costs:
            waiting(queue, caller, cost)

    got = Counter[str]()
    for place in served(queue, count):
        got[place.caller] += place.cost

    assert abs(got["a"] - got["b"]) <= 2 * MOST_COST


@given(st.lists(st.tuples(st.integers(0, 3), COSTS), max_size=300), COSTS)
def test_nobody_starves_though_new_callers_come_all_the_time(arrivals: list[tuple[int, int]], cost: int) -> None:
    """A caller who has just been served waits again; then only newcomers come, up to 4 at a time for each that is
    served. It is served before its own cost, in the smallest requests, has gone to each of those who may wait."""
    room = 8
    queue = FairQueue()
    waiting(queue, "patient", cost)
    waiting(queue, "patient", cost)
    queue.serve()
    since = 0
    for number, (newcomers, size) in enumerate([*arrivals, *[(1, 1)] * (2 * room * MOST_COST)]):
        for extra in range(min(newcomers, room - len(queue))):
            waiting(queue, f"new-{number}-{extra}", size)
        since += 1
        if queue.serve().caller == "patient":
            break

    assert since <= room * cost + room


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "serve", "shed"]), CALLERS, COSTS, st.integers(-1, 1))))
def test_whatever_happens_the_queue_knows_who_waits(steps: list[tuple[str, str, int, int]]) -> None:
    queue, there = FairQueue(), list[Place]()
    for step, caller, cost, priority in steps:
        if step == "join" or not there:
            there.append(waiting(queue, caller, cost, priority))
        elif step == "leave":
            assert queue.leave(there.pop(cost % len(there)))
        elif step == "serve":
            place = queue.serve()
            assert place.priority == max(one.priority for one in there)
            there.remove(place)
        else:
            newcomer = Place(caller, priority, cost)
            queue.arrive(newcomer)
            spared = queue.spare(newcomer)
            assert spared.priority == min(one.priority for one in [*there, newcomer])
            if spared is not newcomer:
                queue.leave(spared)
                there.remove(spared)
        assert len(queue) == len(there)
