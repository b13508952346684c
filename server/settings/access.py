"""Where operators ask, the gateway's certificate, and what a caller may be allowed."""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, model_validator

from router.events import Mode
from server.access.caller import Allowance
from server.settings.section import Section

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Cost = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class AllowanceSettings(Section):
    """What a caller may do; what is not said is without limit."""

    models: Annotated[list[ModelName], Field(min_length=1, max_length=1000)] | None = None
    modes: Annotated[list[Mode], Field(min_length=1)] | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    streams_at_once: Count | None = None
    cost_per_day: Cost | None = None
    cost_per_month: Cost | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0

    @property
    def allowance(self) -> Allowance:
        """The same, as the gateway goes by it."""
        return Allowance(
            None if self.models is None else frozenset(self.models),
            None if self.modes is None else frozenset(self.modes),
            self.requests_per_minute,
            self.tokens_per_minute,
            self.streams_at_once,
            self.cost_per_day,
            self.cost_per_month,
            self.priority,
        )


class ClaimedAllowance(AllowanceSettings):
    """And who it is for."""

    task: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    is_admin: bool = False


def web_origin(value: str) -> str:
    """An origin as browsers write it. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != value:
        raise ValueError("should be a whole origin, as in https://app.example: no path, and no '*'")
    return value


def https_url(value: str) -> str:
    """An address that nobody on the way can answer for; plain http is for this machine. Raises ValueError."""
    parts = urlsplit(value)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise ValueError("should begin with https://")
    return value


def file_beside(value: object, info: ValidationInfo) -> object:
    """A file whose path is not whole is looked for beside the configuration. Raises ValueError."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("should be the path of a file")
    file: Path = (info.context or Path()) / value
    if not file.is_file():
        raise ValueError(f"there is no file {str(file)!r}")
    return file


def refuse_unusable(certificate: Path, key: Path) -> None:
    """Raise ValueError where nothing can be served with a certificate and its key."""

    def no_password() -> str:
        raise ValueError("key: has a password, which nobody is asked for: take it away (`openssl pkey -in … -out …`)")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as wrong:
        if wrong.reason == "KEY_VALUES_MISMATCH":
            raise ValueError("key: is not that of the certificate") from wrong
        raise ValueError(f"certificate and key should be PEM files that OpenSSL can read ({wrong.reason})") from wrong
    except OSError as unreadable:
        raise ValueError(f"certificate and key cannot be read: {unreadable.strerror}") from unreadable


Origin = Annotated[str, AfterValidator(web_origin)]
HttpsUrl = Annotated[str, AfterValidator(https_url)]
File = Annotated[Path, BeforeValidator(file_beside)]


class AdminSettings(Section):
    """Where operators ask."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = 8081
    on_main: bool = False
    open_metrics: bool = True


class TlsSettings(Section):
    """The gateway's certificate, for both of its listeners."""

    certificate: File
    key: File

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        refuse_unusable(self.certificate, self.key)
        return self


class OidcSettings(Section):
    """Bearer tokens of an identity provider (OpenID Connect), beside keys."""

    issuer: HttpsUrl
    audience: Annotated[str, StringConstraints(min_length=1)]
    jwks_url: HttpsUrl | None = None
    algorithms: Annotated[Sequence[Algorithm], Field(min_length=1)] = ("RS256",)
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    claim: Annotated[str, StringConstraints(min_length=1)] | None = None
    allowances: Annotated[Mapping[str, ClaimedAllowance], Field(min_length=1)]

    @model_validator(mode="after")
    def _knows_which(self) -> Self:
        if self.claim is None and len(self.allowances) > 1:
            raise ValueError("claim: is missing: which of the allowances is meant would not be known")
        return self
