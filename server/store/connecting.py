"""What connections to every kind of database have in common."""

import orjson

WRITES = "smallfirst_writes"  # of a transaction: that it does


def as_json(value: object) -> str:
    """JSON of records and of what is in them."""
    return orjson.dumps(value).decode()


def from_json(written: str | bytes) -> object:
    """What that says."""
    return orjson.loads(written)
