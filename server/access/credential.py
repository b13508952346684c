"""What a request shows of who sent it: one secret, in the header of whichever API; not whether it is good."""

from starlette.datastructures import Headers

from server.access.refusal import NotAllowed

SCHEME = "bearer"
LONGEST = 16 * 1024  # of a token with many claims


def credential_of(headers: Headers) -> str:
    """The secret. Raises NotAllowed where there is none, several, or something that is none."""
    bearers = [bearer_in(value) for value in headers.getlist("authorization")]
    given = [one for one in (*bearers, *(key.strip() for key in headers.getlist("x-api-key"))) if one]
    if not given:
        raise NotAllowed(
            "no-key", "no API key was sent: send it as `Authorization: Bearer KEY`, or as `x-api-key: KEY`"
        )
    if len(set(given)) > 1:
        raise NotAllowed("several-keys", "several API keys were sent, and they differ: send one")
    credential = given[0]
    if len(credential) > LONGEST or not credential.isascii() or not credential.isprintable() or " " in credential:
        raise NotAllowed("bad-key", "what was sent as the API key is none: copy it again")
    return credential


def bearer_in(value: str) -> str:
    """The secret in an `Authorization` header; nothing where it is empty. Raises NotAllowed for another scheme."""
    scheme, _, secret = value.strip().partition(" ")
    if scheme and scheme.lower() != SCHEME:
        raise NotAllowed("bad-key", "the Authorization header has no API key: send it as `Authorization: Bearer KEY`")
    return secret.strip()
