"""How a case says that something is not as it should be."""

from server.conformance.json_values import Json, difference, short


class Wrong(Exception):
    """The gateway did what it should not: what was seen."""


class NotServed(Exception):
    """The gateway does not have this API."""


def expect(holds: bool, seen: str) -> None:
    """Raise Wrong, with what was seen, unless it holds."""
    if not holds:
        raise Wrong(seen)


def expect_same(got: Json, wanted: Json, what: str) -> None:
    """Raise Wrong where two values are not the same JSON."""
    found = difference(got, wanted)
    expect(found is None, f"{what}: {found}")


def expect_text(got: Json, wanted: str, what: str = "the text") -> None:
    """Raise Wrong where a text is another one, with the place of the first difference."""
    text = got if isinstance(got, str) else ""
    if text == wanted:
        return
    pairs = zip(text, wanted, strict=False)
    place = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(text), len(wanted)))
    there = short(text[place : place + 20])
    raise Wrong(f"{what} differs at character {place} of {len(wanted)}: {there}, {len(text)} characters came")
