"""Ids that nobody could guess, though they are drawn many at a time."""

import os
import re

from server.store.drawing import AT_ONCE, unguessable
from server.store.records import new_id


def test_no_two_ids_have_the_same_digits() -> None:
    drawn = [unguessable() for _ in range(3 * AT_ONCE)]

    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch(r"[0-9a-f]{20}", one) for one in drawn)


def test_an_id_is_of_32_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_id())


def test_a_forked_process_draws_digits_of_its_own() -> None:
    unguessable()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(unguessable() for _ in range(AT_ONCE)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)

    theirs = {told[place : place + 20] for place in range(0, len(told), 20)}
    assert len(theirs) == AT_ONCE
    assert not theirs & {unguessable() for _ in range(AT_ONCE)}
