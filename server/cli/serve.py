"""`smallfirst serve`: the gateway alone."""

import signal
from collections.abc import Mapping
from pathlib import Path

from server.cli.console import WRONG_USE, complain
from server.cli.guarding import refuse_unkeyed
from server.logs import set_up_logs
from server.settings.reading import PREFIX, SettingsError, read_settings
from server.settings.schema import Settings
from server.store.home import home_of, refuse_unwritable, state_folder
from server.workers.changing import refuse_moved
from server.workers.link import Link
from server.workers.listening import CannotListen, listening
from server.workers.parent import Parent
from server.workers.worker import NOT_STARTED
from server.workers.working import work

WORKERS = f"{PREFIX}SERVER__WORKERS"


def run_serve(config: Path, environment: Mapping[str, str], workers: int | None = None) -> int:
    """Serve until a signal; the exit code is 2 where the configuration is wrong, 3 where the gateway cannot
    start: its port is taken, for example."""
    environment = environment if workers is None else {**environment, WORKERS: str(workers)}
    state = state_folder(environment)
    try:
        settings = servable(config, environment)
        refuse_unkeyed(settings, state)
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    try:
        listeners = listening(settings.server)
    except CannotListen as taken:
        complain([str(taken)])
        return NOT_STARTED
    set_up_logs()

    def read() -> Settings:
        again = servable(config, environment)
        refuse_unkeyed(again, state)
        refuse_moved(settings.server, again.server)
        return again

    def work_at(own: Settings, place: int, link: Link, learned: bytes) -> int:
        return work(own, state, place, listeners, link, learned)

    return ended(Parent(settings, read=read, work=work_at, close=listeners.close).run())


def servable(config: Path, environment: Mapping[str, str]) -> Settings:
    """The settings, where a gateway alone can serve them. Raises SettingsError."""
    settings = read_settings(config, environment)
    for name, tier in settings.tiers.items():
        if not tier.urls:
            raise SettingsError([f"tiers.{name}: has no urls: `smallfirst up` starts its engine, `serve` does not"])
    refuse_unwritable(home_of(settings.store, state_folder(environment)))
    return settings


def ended(code: int) -> int:
    """The exit code; a process that a signal was to end ends by it, as far as that can be: not where it is the first of
    its container."""
    if code >= 0:
        return code
    signal.signal(-code, signal.SIG_DFL)
    signal.raise_signal(signal.Signals(-code))
    return 0
