"""API keys: how they are made, what is kept of them, and whether a secret is one's. Knows neither HTTP nor SQL.

A key reads `sf-<public>-<secret>`. What comes before the secret is its id, which lists, logs and usage show. Of the
secret only the SHA-256 is kept: its 256 bits are drawn at random, so that guessing is hopeless at any speed. A slow
hash (argon2, bcrypt) makes guesses dear where people choose the secret; here it would make each request dear, no more.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass

from server.access.caller import UNLIMITED, Allowance, Caller

PREFIX = "sf-"
PUBLIC = string.ascii_lowercase + string.digits
PUBLIC_LENGTH = 8
SECRET_BYTES = 32
KEY = re.compile(r"(sf-[a-z0-9]{8})-([A-Za-z0-9_-]{43})")
ID = re.compile(r"sf-[a-z0-9]{8}")
NO_DIGEST = "0" * 64  # nothing that can be found has it


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key. Times are Unix seconds; None: never, or without end.

    `digest` is the secret's, `old_digest` that of the one before, which is good until `old_until`. `salt` keeps its
    callers' prefix caches apart from others'; it outlives the secret. `task` is the kind of its requests that name
    none.
    """

    id: str
    name: str
    digest: str
    salt: str
    created: float
    allowance: Allowance = UNLIMITED
    task: str | None = None
    is_admin: bool = False
    expires: float | None = None
    last_used: float | None = None
    revoked: float | None = None
    old_digest: str | None = None
    old_until: float | None = None

    @property
    def caller(self) -> Caller:
        """Who uses it."""
        return Caller(self.id, self.allowance, self.salt, self.is_admin, self.task)

    def is_over(self, now: float) -> bool:
        """Whether its time is up."""
        return self.expires is not None and self.expires <= now

    def is_of(self, secret: str, now: float) -> bool:
        """Whether the secret is this key's; as long in telling whichever it is not."""
        digest = digest_of(secret)
        old = self.old_digest if self.old_digest and self.old_until and self.old_until > now else NO_DIGEST
        return hmac.compare_digest(digest, self.digest) | hmac.compare_digest(digest, old)


def new_id() -> str:
    """An id that nobody has, all but surely: the table has the last word."""
    return PREFIX + "".join(secrets.choice(PUBLIC) for _ in range(PUBLIC_LENGTH))


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_salt() -> str:
    """The same, as what vLLM takes for a `cache_salt`."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(b"smallfirst key:" + secret.encode()).hexdigest()


def written(identity: str, secret: str) -> str:
    """The key as its owner gets it, once."""
    return f"{identity}-{secret}"


def parts_of(given: str) -> tuple[str, str] | None:
    """The id and the secret of a key; None for what is none."""
    match = KEY.fullmatch(given)
    return None if match is None else (match[1], match[2])


def is_id(given: str) -> bool:
    """Whether a key could have this id."""
    return ID.fullmatch(given) is not None
