"""The gateway's own part of the configuration: where it listens, to whom, and what it bears."""

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from server.settings.section import Seconds, Section


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
    auth: Literal["none"] | None = None
    max_body_bytes: Annotated[int, Field(gt=0)] = 20 * 2**20
    body_s: Seconds = 60.0
    deadline_s: Seconds = 900.0
    shutdown_s: Seconds = 30.0
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0.0

    @model_validator(mode="after")
    def _is_private_or_says_so(self) -> Self:
        if self.auth is None and not is_loopback(self.host):
            raise ValueError(
                f"anyone who reaches {self.host!r} could call the gateway: use a loopback host, or say `auth: none`"
            )
        return self
