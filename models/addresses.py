"""The addresses behind a server's name: one that leads to several is several servers. Knows nothing of pools."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from models.endpoint import Endpoint

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def look_up(host: str, port: int) -> Sequence[str]:
    """The host's IPv4 addresses, or its IPv6 ones where it has no other; none where it has one of each, which is one
    machine that is reached by either. Raises OSError where the name is not known just now."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    by_family = {family: {str(place[0]) for kind, *_, place in found if kind == family} for family, *_ in found}
    old, new = by_family.get(socket.AF_INET, set()), by_family.get(socket.AF_INET6, set())
    return () if len(old) == len(new) == 1 else sorted(old or new)


async def expanded(endpoint: Endpoint, resolve: Resolve) -> Sequence[Endpoint]:
    """One endpoint for each address behind the endpoint's name; itself where it names one machine already. Raises
    OSError, or UnicodeError for what cannot be a name."""
    parts = urlsplit(endpoint.url)
    host = parts.hostname or ""
    if is_address(host):
        return (endpoint,)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = await resolve(host, port)
    return [replace(endpoint, address=address) for address in addresses] or (endpoint,)


def is_address(host: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
