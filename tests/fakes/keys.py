"""Keys in a store, as their owners have them."""

from pathlib import Path
from typing import Any

from server.access.caller import Allowance
from server.access.key import Key, digest_of, new_id, new_salt, new_secret, written
from server.store.database import Database
from server.store.keys import KeyTable


def key_of(secret: str, **fields: Any) -> Key:
    """The key of a secret, of which nothing is odd but these fields."""
    plain: dict[str, Any] = {
        "id": new_id(), "name": "app", "digest": digest_of(secret), "salt": new_salt(), "created": 1e9,
    }  # fmt: skip
    return Key(**{**plain, **fields})


async def issued(folder: Path, **fields: Any) -> str:
    """A key that a gateway over this store knows from its start on; an Allowance's fields may be among its own."""
    allowance = {name: fields.pop(name) for name in Allowance.__slots__ if name in fields}
    secret = new_secret()
    database = Database(f"sqlite:///{folder / 'smallfirst.db'}")
    made = key_of(secret, allowance=Allowance(**allowance), **fields)
    key = await KeyTable(database).add(lambda: made)
    await database.close()
    return written(key.id, secret)
