"""The serving process: what is built of a loaded model, and how it ends."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Final

import structlog
import torch
import uvicorn
from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from models.engine.app import Routes, create_app
from models.engine.engine import Engine
from models.engine.load import Loaded
from models.engine.metrics import Meter

_BACKLOG: Final = 2048
_GRACE_S: Final = 1


def use_threads(count: int | None) -> None:
    """How many threads one operation may use; None leaves it to torch."""
    if count is not None:
        torch.set_num_threads(count)


def run(
    loaded: Loaded,
    listener: socket.socket,
    *,
    max_batch: int,
    max_queued: int | None,
    speculative_tokens: int,
) -> None:
    """Serve on `listener` until a signal comes."""
    # Spares the collector, and the process its second of clearing up, what stays loaded anyway.
    gc.freeze()
    log = _logger()
    speculative_tokens = _speculative_tokens(loaded, speculative_tokens, log)
    meter = Meter(loaded.card.name, speculates=speculative_tokens > 0)
    engine = Engine(
        loaded.network,
        loaded.tokenizer,
        meter,
        log,
        max_batch=_rows(loaded, max_batch, log),
        max_queued=max_queued,
        speculative_tokens=speculative_tokens,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, leave)
        listener.listen(_BACKLOG)
        _say_ready(loaded, listener, log)
        yield

    def leave() -> None:
        engine.close()
        server.should_exit = True

    routes = Routes(engine, loaded.tokenizer, loaded.card, meter)
    server = _server(create_app(routes, log, lifespan))
    server.run(sockets=[listener])
    joined = engine.join()
    log.info("engine stopped")
    if not joined:
        _leave_the_thread_behind()


def _rows(loaded: Loaded, wanted: int, log: FilteringBoundLogger) -> int:
    if loaded.network.joinable:
        return wanted
    log.warning("the model's cache cannot be batched, one request runs at a time")
    return 1


def _speculative_tokens(loaded: Loaded, wanted: int, log: FilteringBoundLogger) -> int:
    if loaded.network.retractable or not wanted:
        return wanted
    log.warning("the model's memory cannot go back, drafts are ignored")
    return 0


def _server(app: FastAPI) -> uvicorn.Server:
    """Says nothing by itself, and has a limit on clients that do not read."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)


def _say_ready(loaded: Loaded, listener: socket.socket, log: FilteringBoundLogger) -> None:
    host, port, *_ = listener.getsockname()
    card = loaded.card
    log.info(
        "engine ready",
        host=host,
        port=port,
        model=card.name,
        max_model_len=card.max_model_len,
        device=str(loaded.network.device),
        system_fingerprint=card.fingerprint,
    )


def _logger() -> FilteringBoundLogger:
    """Readable on a terminal, else one JSON object per line; on standard error."""
    rendering: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Plain tracebacks: richer ones show variables, and in them prompts and answers.
            structlog.processors.format_exc_info,
            rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    return log


def _leave_the_thread_behind() -> None:
    """A long forward pass still runs, and Python cannot shut down around native code."""
    sys.stderr.flush()
    os._exit(0)
