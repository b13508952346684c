"""What the commands say to the person who runs them."""

import sys
from collections.abc import Sequence

WRONG_USE = 2
INTERRUPTED = 130


def complain(mistakes: Sequence[str]) -> None:
    """Each mistake on a line of its own, to standard error."""
    for mistake in mistakes:
        sys.stderr.write(f"error: {mistake}\n")
