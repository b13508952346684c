"""The sockets that the gateway listens at: opened once by the parent, used by all workers, so that whoever is connected
waits for any of them, and none is lost when one goes."""

import errno
import socket
from dataclasses import dataclass

from server.settings.server import ServerSettings

BACKLOG = 2048
NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # as ::1 of localhost, where there is no IPv6


class CannotListen(Exception):
    """An address cannot be had."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """A name may have several addresses; operators have one, or none."""

    main: tuple[socket.socket, ...]
    admin: socket.socket | None

    def close(self) -> None:
        """In this process; others may go on with them."""
        for one in (*self.main, self.admin):
            if one is not None:
                one.close()


def listening(server: ServerSettings) -> Listeners:
    """Open them. Raises CannotListen."""
    main = listeners_at("server", server.host, server.port)
    if server.admin_port is None:
        return Listeners(main, None)
    host, port = server.admin.host, server.admin_port
    try:
        return Listeners(main, listener_at(host, port))
    except OSError as taken:
        raise cannot_listen("server.admin", host, port, taken) from taken


def listener_at(host: str, port: int) -> socket.socket:
    """One at the host's first address. Raises OSError."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def listeners_at(key: str, host: str, port: int) -> tuple[socket.socket, ...]:
    """One for each address of the host, without those that this machine does not have. Raises CannotListen."""
    found = list[socket.socket]()
    try:
        known = addresses_of(host, port)
        for family, address in known:
            try:
                found.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as missing:
                if missing.errno not in NOT_HERE or (not found and address == known[-1][1]):
                    raise
    except OSError as taken:
        for one in found:
            one.close()
        raise cannot_listen(key, host, port, taken) from taken
    return tuple(found)


def cannot_listen(key: str, host: str, port: int, why: OSError) -> CannotListen:
    """That, and what to do about it."""
    said = (why.strerror or str(why)).lower()
    return CannotListen(f"{key}: {host}:{port} cannot be had ({said}): choose another host or port")


def addresses_of(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Where that is, each once. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    known = {(family, (str(address[0]), int(address[1]))): None for family, _, _, _, address in found}
    return list(known)
