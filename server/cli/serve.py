"""`smallfirst serve`: the gateway alone."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from server.app import create_app
from server.cli.console import WRONG_USE, complain
from server.cli.guarding import refuse_unguarded
from server.cli.leaving_server import LeavingServer
from server.listener import listener_of
from server.logs import set_up_logs
from server.settings.reading import SettingsError, read_settings
from server.store.home import home_of, refuse_unwritable, state_folder

NOT_STARTED = 3


def run_serve(config: Path, environment: Mapping[str, str]) -> int:
    """Serve until a signal; the exit code is 2 where the configuration is wrong, 3 where the gateway cannot
    start: its port is taken, for example."""
    try:
        settings = read_settings(config, environment)
        for name, tier in settings.tiers.items():
            if not tier.urls:
                raise SettingsError([f"tiers.{name}: has no urls: `smallfirst up` starts its engine, `serve` does not"])
        refuse_unwritable(home_of(settings.store, state_folder(environment)))
        refuse_unguarded(settings, state_folder(environment))
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    set_up_logs()
    server = settings.server
    app = create_app(settings, state_folder(environment))
    listener = listener_of(app, server, host=server.host, port=server.port, grace_s=server.shutdown_s)
    listening = LeavingServer(listener, leaving=app.state.leaving, drain_s=server.drain_s)
    with suppress(KeyboardInterrupt):
        listening.run()
    return 0 if listening.started else NOT_STARTED
