"""Where a deviation of a gateway is its design, or needs a word."""

from fnmatch import fnmatch

NOTES: dict[tuple[str, str], str] = {}


def notes_on(name: str, case: str) -> str:
    """What is to be said of a gateway's failure."""
    return next((note for (who, pattern), note in NOTES.items() if who == name and fnmatch(case, pattern)), "")
