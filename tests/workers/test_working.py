"""What a worker says to its parent."""

import socket

import uvicorn
from prometheus_client import CollectorRegistry

from server.readiness import Leaving
from server.workers.link import Link, Word
from server.workers.working import ObedientServer, Totals


async def nobody(*_: object) -> None:
    """An application that nobody asks."""


async def test_who_was_not_listened_to_for_long_is_heard_again() -> None:
    ours, theirs = map(Link, socket.socketpair())
    server = ObedientServer(uvicorn.Config(nobody), leaving=Leaving(), drain_s=0.0)
    server.obey(ours, Totals(ours, CollectorRegistry()), lambda: b"learned", retire_s=1.0)
    while not ours.is_behind:
        ours.send(Word.BEAT)

    server.beat()
    heard = theirs.heard()
    server.beat()

    assert Word.LEARNED not in [word for word, _ in heard]
    assert {word for word, _ in theirs.heard()} >= {Word.BEAT, Word.LEARNED}
    ours.close()
    theirs.close()
