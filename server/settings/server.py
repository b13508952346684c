"""The gateway's own part of the configuration: where it listens, to whom, and what it bears."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from server.settings.access import AdminSettings, OidcSettings, Origin, TlsSettings
from server.settings.section import Seconds, Section

BODIES_BYTES = 256 * 2**20


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class ServerSettings(Section):
    """The gateway itself."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    auth: Literal["none", "keys"] | None = None
    keys_offline_s: Seconds = 3600.0
    oidc: OidcSettings | None = None
    admin: AdminSettings = AdminSettings()
    tls: TlsSettings | None = None
    cors: Sequence[Origin] = ()
    max_header_bytes: Annotated[int, Field(ge=1024, le=2**20)] = 64 * 2**10
    headers_s: Seconds = 10.0
    send_s: Seconds = 30.0
    max_body_bytes: Annotated[int, Field(gt=0)] = 20 * 2**20
    bodies_bytes: Annotated[int, Field(gt=0)] | None = None
    body_s: Seconds = 60.0
    deadline_s: Seconds = 900.0
    shutdown_s: Seconds = 30.0
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    hung_s: Annotated[float, Field(ge=2, le=3600)] = 30.0
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0.0

    @model_validator(mode="after")
    def _is_private_or_says_so(self) -> Self:
        if self.auth is None and not is_loopback(self.host):
            raise ValueError(
                f"anyone who reaches {self.host!r} could call the gateway: use a loopback host, ask for keys"
                " (`auth: keys`), or say `auth: none`"
            )
        return self

    @model_validator(mode="after")
    def _looks_at_tokens(self) -> Self:
        if self.oidc is not None and self.auth != "keys":
            raise ValueError("oidc: tokens are looked at where keys are: say `auth: keys`")
        return self

    @model_validator(mode="after")
    def _is_administered_by_operators(self) -> Self:
        if self.auth != "keys" and self.admin.on_main and not is_loopback(self.host):
            raise ValueError("admin.on_main: without keys anyone could administer the gateway: say `auth: keys`")
        if self.auth != "keys" and not is_loopback(self.admin.host):
            raise ValueError("admin.host: without keys anyone could administer the gateway: say `auth: keys`")
        return self

    @model_validator(mode="after")
    def _has_room_for_a_body(self) -> Self:
        if self.bodies_bytes is not None and self.bodies_bytes < 2 * self.max_body_bytes:
            raise ValueError("bodies_bytes: should be twice max_body_bytes or more: one caller may have half of it")
        return self

    @property
    def most_bodies_bytes(self) -> int:
        """How much of bodies may be coming in at once."""
        return self.bodies_bytes or max(BODIES_BYTES, 2 * self.max_body_bytes)

    @property
    def admin_port(self) -> int | None:
        """The port of the listener for operators: a gateway without keys has one if it is asked for."""
        return self.admin.port if self.auth == "keys" or "admin" in self.model_fields_set else None
