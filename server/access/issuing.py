"""Making keys, and putting others in their place: what the command and the admin API have in common."""

import time
from dataclasses import dataclass, replace

from server.access.caller import Allowance
from server.access.key import Key, digest_of, new_id, new_salt, new_secret, written
from server.store.keys import KeyTable

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A key as somebody wants it; `expires` in Unix seconds, None for never."""

    name: str
    allowance: Allowance
    task: str | None = None
    is_admin: bool = False
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A key, and its text, which is nowhere else."""

    key: Key
    text: str


async def issue(table: KeyTable, wish: Wish) -> Issued:
    """A new key. Raises StoreDown, or TooManyKeys."""
    secret, salt = new_secret(), new_salt()

    def make() -> Key:
        return Key(
            new_id(),
            wish.name,
            digest_of(secret),
            salt,
            time.time(),
            wish.allowance,
            wish.task,
            wish.is_admin,
            wish.expires,
        )

    key = await table.add(make)
    return Issued(key, written(key.id, secret))


async def renew(table: KeyTable, identity: str, *, grace_s: float) -> Issued:
    """Another secret for a key, which stays what it is else; the one before is good for so long still. Raises
    NoSuchKey, or StoreDown."""
    secret = new_secret()

    def renewed(key: Key) -> Key:
        old, until = (key.digest, time.time() + grace_s) if grace_s > 0 else (None, None)
        return replace(key, digest=digest_of(secret), old_digest=old, old_until=until)

    key = await table.change(identity, renewed)
    return Issued(key, written(key.id, secret))
