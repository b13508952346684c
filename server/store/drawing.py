"""Random digits, drawn from the system many at a time: each request has several ids, and a call of the system for each
takes four times as long."""

import os
from collections import deque

BYTES = 10
AT_ONCE = 256

drawn = deque[str]()
os.register_at_fork(after_in_child=drawn.clear)  # each process has its own


def unguessable() -> str:
    """20 hexadecimal digits that nobody else has or could know."""
    try:
        return drawn.pop()
    except IndexError:
        more = os.urandom(BYTES * AT_ONCE).hex(" ", BYTES).split()
        drawn.extend(more[1:])
        return more[0]
