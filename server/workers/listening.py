"""The sockets that the gateway listens at: opened once by the parent, used by all workers, so that whoever is connected
waits for any of them, and none is lost when one goes."""

import socket
from dataclasses import dataclass

from server.settings.server import ServerSettings

BACKLOG = 2048


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
    return Listeners(main, listeners_at("server.admin", server.admin.host, server.admin_port)[0])


def listeners_at(key: str, host: str, port: int) -> tuple[socket.socket, ...]:
    """One for each address of the host. Raises CannotListen."""
    found = list[socket.socket]()
    try:
        for family, address in addresses_of(host, port):
            found.append(socket.create_server(address, family=family, backlog=BACKLOG))
    except OSError as taken:
        for one in found:
            one.close()
        why = (taken.strerror or str(taken)).lower()
        raise CannotListen(f"{key}: {host}:{port} cannot be had ({why}): choose another host or port") from taken
    return tuple(found)


def addresses_of(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Where that is, each once. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    known = {(family, (str(address[0]), int(address[1]))): None for family, _, _, _, address in found}
    return list(known)
