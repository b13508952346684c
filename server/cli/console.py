"""What the commands say to the person who runs them."""

import sys
from collections.abc import Mapping, Sequence

WRONG_USE = 2
INTERRUPTED = 130


def shown(api_key: str | None) -> Mapping[str, str]:
    """The header in which a gateway is shown its key."""
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


def complain(mistakes: Sequence[str]) -> None:
    """Each mistake on a line of its own, to standard error."""
    for mistake in mistakes:
        sys.stderr.write(f"error: {mistake}\n")
