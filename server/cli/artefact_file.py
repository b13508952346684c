"""Writes an artefact."""

from pathlib import Path

from router.trust import Trust, trust_written


def write_artefact(trust: Trust, out: Path) -> None:
    """Whole or not at all: who reads the file meanwhile reads what was there before. What is no file, as a pipe is,
    gets it as it is. Raises OSError."""
    content = trust_written(trust)
    if out.exists() and not out.is_file():
        out.write_bytes(content)
        return
    place = out.resolve()
    beside = place.with_name(place.name + ".part")
    beside.write_bytes(content)
    beside.replace(place)
