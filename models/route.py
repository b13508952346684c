"""Where requests to a server go, and what of them never changes. Sends nothing itself."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from models.endpoint import Endpoint

PORTS = {"http": 80, "https": 443}
# A compressed reply would have to be read in pieces of a bounded size once more, for nothing on a way this short.
ALWAYS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "smallfirst"}
STAY_IN_PATHS = "/%:@!$&'()*+,;=~"

Method = Literal["GET", "POST"]


class Place(NamedTuple):
    """What a connection leads to: a host, its port, and with TLS the name that its certificate must bear."""

    host: str
    port: int
    tls_name: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request to a server, by the server's name in our lists: its method and URL, and all lines of its head
    that are always the same. No key or password is in the URL."""

    server: str
    method: Method
    url: str
    place: Place
    head: bytes


def route_to(endpoint: Endpoint, method: Method, path: str) -> Route:
    """Requests of this kind to this server. Raises ValueError where its headers cannot be sent."""
    parts = urlsplit(f"{endpoint.reached_url}{path}")
    host, netloc = parts.hostname or "", parts.netloc.rpartition("@")[2]
    tls_name = (endpoint.tls_name or host) if parts.scheme == "https" else None
    at = netloc if netloc.isascii() else netloc.encode("idna").decode()
    target = quote(parts.path, safe=STAY_IN_PATHS) + (f"?{parts.query}" if parts.query else "")
    headers = {"host": at, **ALWAYS, **credentials_in(parts), **endpoint.headers}
    return Route(
        endpoint.name,
        method,
        f"{parts.scheme}://{netloc}{target}",
        Place(host, parts.port or PORTS[parts.scheme], tls_name),
        f"{method} {target} HTTP/1.1\r\n".encode() + lines_of(headers),
    )


def credentials_in(parts: SplitResult) -> dict[str, str]:
    """The header for the name and password that a URL holds."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def lines_of(headers: Mapping[str, str]) -> bytes:
    """Headers as they are sent. Raises ValueError where one of them would be more than its line."""
    if not "".join(headers.values()).isprintable():
        raise ValueError("a header's value holds what cannot be sent, such as a line break")
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()
