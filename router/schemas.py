"""Whether a text is JSON of a client's schema; what would take too long to tell is not told.

A schema comes from a client, and `$ref`s that fan out make checking exponential in its size. So its size is
counted with all references followed, before anything is checked.
"""

from collections.abc import Iterator
from functools import lru_cache

import jsonschema_rs
import orjson

from models.wire import Json, JsonObject

MAX_SCHEMA_BYTES = 256 * 2**10
MAX_NODES = 20_000
REMEMBERED = 128


class TooCostly(Exception):
    """Checking against the schema could take too long."""


def fits_schema(text: str, schema: JsonObject) -> bool:
    """Whether the text is JSON of this schema.

    A schema that is none itself, or refers elsewhere, judges nothing; with one that is too costly nothing fits.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    try:
        return validator_of(orjson.dumps(schema)).is_valid(value)
    except TooCostly:
        return False
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return True


@lru_cache(maxsize=REMEMBERED)
def validator_of(schema: bytes) -> jsonschema_rs.Validator:
    """The compiled schema. Raises TooCostly, ValidationError, ReferencingError or ValueError."""
    if len(schema) > MAX_SCHEMA_BYTES:
        raise TooCostly
    tree: JsonObject = orjson.loads(schema)
    try:
        nodes = Followed(tree).nodes(tree)
    except RecursionError as deep:
        raise TooCostly from deep
    if nodes > MAX_NODES:
        raise TooCostly
    return jsonschema_rs.validator_for(tree, retriever=refuse_to_fetch)


class Followed:
    """Counts a schema's nodes as if each reference stood for what it refers to; one that leads back to itself counts
    once, since the value that is checked ends it."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._known: dict[str, int] = {}

    def nodes(self, tree: Json) -> int:
        """How many, this one among them; counting ends soon after the limit."""
        count = 1
        for inner in children(tree):
            count += self.nodes(inner)
            if count > MAX_NODES:
                return count
        reference = tree.get("$ref", tree.get("$dynamicRef")) if isinstance(tree, dict) else None
        return count + self._behind(reference) if isinstance(reference, str) else count

    def _behind(self, reference: str) -> int:
        if reference not in self._known:
            self._known[reference] = 1
            self._known[reference] = self.nodes(pointed_to(self._root, reference))
        return self._known[reference]


def children(tree: Json) -> Iterator[Json]:
    """The values directly inside."""
    if isinstance(tree, dict):
        yield from tree.values()
    if isinstance(tree, list):
        yield from tree


def pointed_to(root: Json, reference: str) -> Json:
    """What a local JSON pointer (RFC 6901) refers to; nothing where it leads nowhere or elsewhere."""
    found = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def refuse_to_fetch(uri: str) -> JsonObject:
    """A client's schema never makes the gateway fetch anything."""
    raise ValueError(f"{uri!r} is not fetched")
