"""`smallfirst serve`: the gateway alone."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import uvicorn

from server.app import create_app
from server.cli.console import WRONG_USE, complain
from server.cli.leaving_server import LeavingServer
from server.logs import set_up_logs
from server.settings.reading import SettingsError, read_settings
from server.store.home import home_of, refuse_unwritable, state_folder

CANNOT_START = 3


def run_serve(config: Path, environment: Mapping[str, str]) -> int:
    """Serve until a signal; the exit code is 2 where the configuration is wrong, 3 where the gateway cannot
    start: its port is taken, for example."""
    try:
        settings = read_settings(config, environment)
        for name, tier in settings.tiers.items():
            if not tier.urls:
                raise SettingsError([f"tiers.{name}: has no urls: `smallfirst up` starts its engine, `serve` does not"])
        refuse_unwritable(home_of(settings.store, state_folder(environment)))
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    set_up_logs()
    app = create_app(settings, state_folder(environment))
    listening = uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.server.shutdown_s),
    )
    server = LeavingServer(listening, leaving=app.state.leaving, drain_s=settings.server.drain_s)
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else CANNOT_START
