"""Whether a gateway can be guarded as its configuration wants, before it starts."""

from importlib.util import find_spec
from pathlib import Path

from server.access.opening import home_of_keys
from server.settings.reading import SettingsError
from server.settings.schema import Settings
from server.workers.listening import listener_at


def refuse_unguarded(settings: Settings, state: Path | None) -> None:
    """Raise SettingsError where keys have no place, or operators no listener: for who starts engines before it would
    find out."""
    refuse_unkeyed(settings, state)
    admin = settings.server.admin
    if settings.server.admin_port and is_taken(admin.host, settings.server.admin_port):
        raise SettingsError(
            [f"server.admin.port: {admin.host}:{settings.server.admin_port} cannot be had: choose another, or null"]
        )


def refuse_unkeyed(settings: Settings, state: Path | None) -> None:
    """Raise SettingsError where keys have no place, or tokens nobody who reads them."""
    if settings.server.auth == "keys":
        home_of_keys(settings, state)
    if settings.server.oidc is not None and find_spec("jwt") is None:
        raise SettingsError(["server.oidc: PyJWT is not installed: it comes with `pip install 'smallfirst[oidc]'`"])


def is_taken(host: str, port: int) -> bool:
    """Whether the port cannot be had."""
    try:
        listener_at(host, port).close()
    except OSError:
        return True
    return False
