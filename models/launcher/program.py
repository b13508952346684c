"""A program to keep running, and the command lines of the engines we know."""

import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EngineKind = Literal["transformers", "vllm"]
Flag = str | int | float | bool | None

QUIET: Mapping[str, Flag] = {"disable-uvicorn-access-log": True}  # the gateway asks how it is every other second


@dataclass(frozen=True, slots=True)
class Program:
    """What to run under which name, where it says that it is healthy, and how long it may take to say so. Its
    `environment` is all that it gets; empty, it inherits ours. It starts when those that it comes `after` are healthy;
    once it runs, it is started again whatever they do. `certificate` is the file of the one that it shows, where it is
    asked by https."""

    name: str
    command: tuple[str, ...]
    health_url: str
    start_timeout_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    certificate: Path | None = None


def our_command() -> str:
    """The console script `smallfirst` of this installation."""
    return str(Path(sys.executable).with_name("smallfirst"))


def engine_command(
    kind: EngineKind,
    path: str,
    *,
    model: str,
    port: int,
    args: Mapping[str, Flag],
    executable: str | None,
) -> tuple[str, ...]:
    """How a server of this kind is started on loopback, serving `path` under the name `model`."""
    place = ("--served-model-name", model, "--host", "127.0.0.1", "--port", str(port))
    if kind == "transformers":
        return (executable or our_command(), "engine", path, *place, *flags(args))
    return (executable or vllm_command(), "serve", path, *place, *flags({**QUIET, **args}))


def vllm_command() -> str:
    """vLLM's console script: this installation's own, else the first on the PATH."""
    beside = Path(sys.executable).with_name("vllm")
    return str(beside) if beside.exists() else "vllm"


def flags(args: Mapping[str, Flag]) -> list[str]:
    """`{a-b: 1, c: true, d: false, e: null}` as `--a-b 1 --c --no-d`; null is left out."""
    found: list[str] = []
    for name, value in args.items():
        match value:
            case None:
                pass
            case True:
                found.append(f"--{name}")
            case False:
                found.append(f"--no-{name}")
            case _:
                found += [f"--{name}", str(value)]
    return found


def free_ports(count: int) -> Sequence[int]:
    """Ports on loopback that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for open_socket in sockets:
            open_socket.bind(("127.0.0.1", 0))
        return [open_socket.getsockname()[1] for open_socket in sockets]
    finally:
        for open_socket in sockets:
            open_socket.close()
