"""What a reload cannot change: where the gateway listens, because its parent has opened that."""

from server.settings.reading import SettingsError
from server.settings.server import ServerSettings


def refuse_moved(before: ServerSettings, after: ServerSettings) -> None:
    """Raise SettingsError where the gateway would listen elsewhere."""
    places = {
        "server.host": (before.host, after.host),
        "server.port": (before.port, after.port),
        "server.admin.port": (before.admin_port, after.admin_port),
    }
    if before.admin_port is not None:
        places["server.admin.host"] = (before.admin.host, after.admin.host)
    moved = [
        f"{key}: a reload cannot move the gateway from {was} to {wanted}: start it anew"
        for key, (was, wanted) in places.items()
        if was != wanted
    ]
    if moved:
        raise SettingsError(moved)
