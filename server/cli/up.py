"""`smallfirst up`: the engines of a configuration and the gateway in front of them, in processes of their own."""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from models.demo.files import CONFIG
from models.launcher.program import Program, free_ports, our_command
from models.launcher.supervisor import STOP_S, CannotStart, Supervisor, answers, run_in_turn
from server.cli.console import WRONG_USE, complain
from server.cli.engines import Engine, engines_of
from server.cli.fitting import refuse_unfit
from server.cli.guarding import is_taken, refuse_unguarded
from server.logs import set_up_logs
from server.settings.reading import PREFIX, SettingsError, read_settings
from server.settings.schema import Settings, shouted
from server.store.home import home_of, refuse_unwritable, state_folder
from server.workers.signals import has_terminal

GATEWAY = "gateway"
GATEWAY_START_S = 60.0


def run_up(config: Path | None, environment: Mapping[str, str]) -> int:
    """Run until a signal; 2 where the configuration is wrong, 1 where something does not start."""
    file = config or CONFIG
    try:
        settings = read_settings(file, environment)
        engines = engines_of(settings, file, environment)
        refuse_unfit(engines)
        refuse_taken_ports(settings)
        refuse_unwritable(home_of(settings.store, state_folder(environment)))
        refuse_unguarded(settings, state_folder(environment))
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    set_up_logs()
    failures: list[str] = []
    try:
        asyncio.run(supervise(programs_of(settings, engines, file, environment), settings))
    except* CannotStart as failed:
        failures += map(str, failed.exceptions)
    complain(failures)
    return 1 if failures else 0


def refuse_taken_ports(settings: Settings) -> None:
    """Raise SettingsError where somebody else listens already: its answers would look like ours."""
    if settings.server.port == 0:
        raise SettingsError(["server.port: `smallfirst up` needs a port of its own choice: not 0"])
    wanted = {"server.port": (settings.server.host, settings.server.port)}
    for name, tier in settings.tiers.items():
        if tier.engine is not None and tier.engine.port is not None:
            wanted[f"tiers.{name}.engine.port"] = ("127.0.0.1", tier.engine.port)
    taken = [
        f"{key}: {host}:{port} cannot be had, somebody may listen there already: choose another port"
        for key, (host, port) in wanted.items()
        if is_taken(host, port)
    ]
    if taken:
        raise SettingsError(taken)


def programs_of(
    settings: Settings, engines: Sequence[Engine], file: Path, environment: Mapping[str, str]
) -> list[Program]:
    """Each tier's engine, and the gateway told where they are."""
    found = free_ports(len(engines))
    ports = {engine.tier: engine.settings.port or port for engine, port in zip(engines, found, strict=True)}
    urls = {
        f"{PREFIX}TIERS__{shouted(name)}__URLS": yaml.safe_dump(
            [*settings.tiers[name].urls, f"http://127.0.0.1:{port}"], default_flow_style=True
        )
        for name, port in ports.items()
    }
    command = (our_command(), "serve", str(file))
    health = f"{gateway_url(settings)}/health"
    gateway = Program(
        GATEWAY, command, health, GATEWAY_START_S, {**environment, **urls}, certificate=certificate_of(settings)
    )
    return [*(engine.program(ports[engine.tier]) for engine in engines), gateway]


def gateway_url(settings: Settings) -> str:
    """Where a client on this machine finds the gateway."""
    host = settings.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        host = "127.0.0.1"
    scheme = "http" if settings.server.tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def certificate_of(settings: Settings) -> Path | None:
    """The file of what the gateway shows, where it is asked by https."""
    return None if settings.server.tls is None else settings.server.tls.certificate


async def supervise(programs: list[Program], settings: Settings) -> None:
    """Keep all of them running, each started in its turn, until SIGTERM or SIGINT; then stop them, the gateway first,
    so that the answers that it is giving can end. A second signal ends all at once. SIGHUP is for the gateway, unless
    the terminal was closed. Raises CannotStart in a group."""
    width = max(len(program.name) for program in programs)
    drain_s = settings.server.drain_s + settings.server.shutdown_s + STOP_S
    supervisors = [
        Supervisor(program, print_line=printer(width), stop_s=drain_s if program.name == GATEWAY else STOP_S)
        for program in programs
    ]
    stopping = asyncio.Event()
    began_on_terminal = has_terminal(sys.stderr.fileno())

    def on_signal() -> None:
        if stopping.is_set():
            for supervisor in supervisors:
                supervisor.kill()
        stopping.set()

    def on_hang_up() -> None:
        if has_terminal(sys.stderr.fileno()) is began_on_terminal:
            supervisors[-1].tell(signal.SIGHUP)
        else:
            on_signal()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, on_hang_up)
    async with asyncio.TaskGroup() as group:
        *engines, gateway = [group.create_task(run_in_turn(supervisors, program.name)) for program in programs]
        greeting = group.create_task(greet(supervisors, settings))
        await stopping.wait()
        greeting.cancel()
        gateway.cancel()
        await asyncio.wait((gateway,))
        for engine in engines:
            engine.cancel()


def printer(width: int) -> Callable[[str, str], None]:
    """Lines under the name of who wrote them."""

    def print_line(name: str, line: str) -> None:
        sys.stderr.write(f"{name:<{width}} | {line}\n")

    return print_line


async def greet(supervisors: list[Supervisor], settings: Settings) -> None:
    """Say that all is ready, and what to do now."""
    for supervisor in supervisors:
        await supervisor.healthy.wait()
    url = gateway_url(settings)
    await answers(f"{url}/ready", certificate_of(settings))
    model = next(iter([*settings.cascades, *settings.tiers]))
    option = " --api-key KEY" if settings.server.auth == "keys" else ""
    header = "    -H 'authorization: Bearer KEY' \\\n" if option else ""
    sys.stderr.write(
        f"\nready: {url}/v1, model {model!r}. Try, in another terminal:\n"
        f"  smallfirst chat --url {url}{option}\n"
        f"  curl -i {url}/v1/chat/completions -H 'content-type: application/json' \\\n"
        f"{header}"
        f'    -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "What is 7 times 8?"}}]}}\'\n\n'
    )
