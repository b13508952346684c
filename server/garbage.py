"""When Python looks for cycles of objects that nobody refers to: seldom, and never among what was there at the start.

Nearly all that a request leaves behind goes without it, as soon as nobody refers to it. But every look stops all
streams, and it takes longer the more of them are under way: with the interpreter's own settings, at a few hundred
streams, a tenth of a second, again and again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG, MIDDLE, OLD = 20_000, 20, 20  # new objects between two looks at the youngest, and so on; see gc.set_threshold


def look_seldom() -> None:
    """From now on; what there is now is there to stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


@contextmanager
def not_looking() -> Iterator[None]:
    """Not at all meanwhile, and what there is in the end is there to stay: for importing, of which next to nothing is
    garbage, and of whose time looking takes a seventh."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
