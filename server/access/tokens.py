"""Whose token it is, and what its claims allow: OpenID Connect's bearer tokens, checked by PyJWT. Of the algorithms the
configuration names some that sign with a private key; a token has no say in that."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import jwt
from jwt import PyJWK
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from server.access.caller import Caller
from server.access.provider import Provider
from server.access.refusal import NotAllowed, forbidden, unreadable
from server.settings.access import ClaimedAllowance, OidcSettings

NEEDED = ["exp", "iss", "aud", "sub"]
PLAIN = re.compile(r"[A-Za-z0-9._@+|-]{1,59}")

Claims = Mapping[str, object]


class ProvidersTokens:
    """The tokens of one identity provider."""

    def __init__(self, provider: Provider, settings: OidcSettings) -> None:
        self._provider = provider
        self._settings = settings

    async def caller(self, token: str) -> Caller:
        """Whose it is. Raises NotAllowed."""
        key_id, algorithm = self._header(token)
        key = await self._provider.find(key_id)
        if not self._provider.is_readable:
            raise unreadable("the keys of the identity provider cannot be read now: try again")
        if key is None:
            raise bad("it is signed with a key that its issuer does not have")
        claims = self._claims(token, key, algorithm)
        return caller_of(claims, self._settings)

    def _header(self, token: str) -> tuple[str, str]:
        """Which key it says that it is signed with, and how."""
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError) as wrong:  # the last of older versions of PyJWT
            raise bad("it is none") from wrong
        key_id, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in self._settings.algorithms:
            raise bad(f"it must be signed by one of {', '.join(self._settings.algorithms)}")
        if not isinstance(key_id, str) or not isinstance(algorithm, str):
            raise bad("it does not say with which key it is signed")
        return key_id, algorithm

    def _claims(self, token: str, key: PyJWK, algorithm: str) -> Claims:
        settings = self._settings
        try:
            claims: Claims = jwt.decode(
                token, key.key, algorithms=[algorithm], audience=settings.audience, issuer=settings.issuer,
                leeway=settings.leeway_s, options={"require": NEEDED},
            )  # fmt: skip
        except ExpiredSignatureError as over:
            raise NotAllowed("expired", "the token has expired: get another one") from over
        except (PyJWTError, ValueError, TypeError) as wrong:
            raise bad("its signature, issuer, audience or times are wrong") from wrong
        return claims


def bad(why: str) -> NotAllowed:
    """It is not believed."""
    return NotAllowed("bad-token", f"the bearer token is not valid: {why}")


def caller_of(claims: Claims, settings: OidcSettings) -> Caller:
    """Who the claims are about, with the first allowance that they name. Raises NotAllowed where they name none."""
    subject = str(claims["sub"])
    if not subject:
        raise bad("it is about nobody")
    allowed = allowance_of(claims, settings)
    if allowed is None:
        raise forbidden(
            "no-allowance", "the token's claims allow nothing here: ask the gateway's operator", code="no_allowance"
        )
    salt = hashlib.blake2b(f"{settings.issuer}\0{subject}".encode(), digest_size=24).hexdigest()
    return Caller(id_of(subject), allowed.allowance, salt, allowed.is_admin, allowed.task)


def id_of(subject: str) -> str:
    """What a subject is kept and counted under: itself, or a hash of one that is long or odd."""
    if PLAIN.fullmatch(subject):
        return f"oidc:{subject}"
    return f"oidc#{hashlib.blake2b(subject.encode(), digest_size=16).hexdigest()}"


def allowance_of(claims: Claims, settings: OidcSettings) -> ClaimedAllowance | None:
    """The first allowance, in the configuration's order, that the claim names; the only one where no claim is asked."""
    if settings.claim is None:
        return next(iter(settings.allowances.values()))
    names = words_in(claim_in(claims, settings.claim))
    return next((allowance for name, allowance in settings.allowances.items() if name in names), None)


def claim_in(claims: object, name: str) -> object:
    """A claim by its name; `a.b` is also `b` in `a`."""
    if not isinstance(claims, dict):
        return None
    if name in claims:
        return claims[name]
    first, dot, rest = name.partition(".")
    return claim_in(claims.get(first), rest) if dot else None


def words_in(value: object) -> Sequence[str]:
    """A list of names, or one text with blanks between them, as `scope` is."""
    if isinstance(value, str):
        return value.split()
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
