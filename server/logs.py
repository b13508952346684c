"""Log lines: for people on a terminal, JSON elsewhere. Never a prompt, an answer or a key."""

import json
import logging
import sys
from collections.abc import Callable

import orjson
import structlog

Fallback = Callable[[object], object]


def set_up_logs() -> None:
    """For this process; the libraries' own warnings come the same way."""
    for_people = sys.stderr.isatty()
    lines = structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(as_line)
    texts = structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(as_text)
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, lines],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if for_people
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=texts, foreign_pre_chain=shared))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def as_line(event: object, default: Fallback) -> bytes:
    """JSON as bytes; a request has a line of its own, and the standard library would take five times as long."""
    try:
        return orjson.dumps(event, default)
    except TypeError:  # half of a surrogate pair, or a number of more than 64 bits
        return json.dumps(event, default=default).encode()


def as_text(event: object, default: Fallback) -> str:
    """The same as a text."""
    return as_line(event, default).decode()
