"""Start the laptop engine, and leave quietly when told to. Imports torch only once it serves."""

import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Final, Literal, NoReturn

from models.engine.errors import StartError

# A model named so is no hub name.
_PATH_MARKS: Final = ("/", "./", "../")


def serve(
    model: str,
    *,
    served_model_name: str | None,
    host: str,
    port: int,
    max_batch: int,
    max_queued: int | None,
    max_model_len: int | None,
    dtype: Literal["auto", "float32", "bfloat16"],
    device: str,
    threads: int | None,
    speculative_tokens: int,
) -> int:
    """Serve `model` until SIGINT or SIGTERM; the process's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        _check_folder(model)
        listener = _bind(host, port)
        from models.engine.load import load
        from models.engine.process import run, use_threads

        use_threads(threads)
        loaded = load(model, name=served_model_name, max_model_len=max_model_len, dtype=dtype, device=device)
    except StartError as error:
        sys.stderr.write(f"smallfirst engine: {error}\n")
        return 2
    run(loaded, listener, max_batch=max_batch, max_queued=max_queued, speculative_tokens=speculative_tokens)
    return 0


def _leave(_: int, __: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _check_folder(model: str) -> None:
    if model.startswith(_PATH_MARKS) and not Path(model).is_dir():
        raise StartError(f"cannot load model {model!r}: there is no such directory")


def _bind(host: str, port: int) -> socket.socket:
    """Take the port before the slow work, but do not listen yet: an open port says ready."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise StartError(f"cannot listen on {host}:{port}: {error}") from error
    return listener
