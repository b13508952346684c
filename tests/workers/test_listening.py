"""The sockets that the gateway listens at."""

import socket

import pytest

from models.launcher.program import free_ports
from server.settings.server import ServerSettings
from server.workers.listening import CannotListen, listening


def connects(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_name_is_listened_at_wherever_this_machine_has_it() -> None:
    port, admin = free_ports(2)
    server = ServerSettings.model_validate({"host": "localhost", "port": port, "admin": {"port": admin}})

    listeners = listening(server)

    assert connects("127.0.0.1", port)
    assert connects("127.0.0.1", admin)
    listeners.close()
    assert not connects("127.0.0.1", port)
    assert not connects("127.0.0.1", admin)


@pytest.mark.parametrize("host", ["192.0.2.7", "no.such.host.invalid"])
def test_an_address_that_is_not_here_is_told(host: str) -> None:
    server = ServerSettings.model_validate({"host": host, "port": 8080, "auth": "none"})

    with pytest.raises(CannotListen, match=f"server: {host}:8080 cannot be had"):
        listening(server)


def test_an_operators_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = ServerSettings.model_validate({"port": 0, "admin": {"port": port}})

        with pytest.raises(CannotListen, match="address already in use"):
            listening(server)
