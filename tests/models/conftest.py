"""What is close to the sockets is tested on both event loops: the interpreter's own, and the one that `serve` has."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

CLOSE_TO_SOCKETS = ("test_connection", "test_session")
OWN: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - it is a hook's
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that a test runs on."""
    return {**OWN, "uvloop": uvloop.new_event_loop} if item.path.stem in CLOSE_TO_SOCKETS else OWN
