"""Log lines: for people on a terminal, JSON elsewhere. Never a prompt, an answer or a key."""

import logging
import sys

import orjson
import structlog


def set_up_logs() -> None:
    """For this process; the libraries' own warnings come the same way. Ours are written as bytes where they are JSON: a
    line for each request is to cost little."""
    is_read_by_people = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if is_read_by_people else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            renderer if is_read_by_people else structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=(
            structlog.PrintLoggerFactory(sys.stderr)
            if is_read_by_people
            else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    foreign: list[structlog.typing.Processor] = [*shared, structlog.processors.format_exc_info]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=foreign))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
