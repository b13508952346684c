"""What a worker does: serve the gateway at the sockets it was given, tell its parent that it does, and do as told."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from server.app import create_app
from server.garbage import look_seldom
from server.handing import NOTHING, handed
from server.listener import listener_of
from server.settings.schema import Settings
from server.workers.leaving_server import LeavingServer
from server.workers.link import Gone, Link, Word
from server.workers.listening import Listeners
from server.workers.pulse import BEAT_S
from server.workers.sharing import part_of
from server.workers.totals import FAMILIES, Families, families_of
from server.workers.worker import NOT_STARTED

ROUND_S = 5.0  # what all metrics may take, from the parent
LAST_WORDS_S = 2.0
RETIRED_S = 5.0  # beyond the longest request


class ObedientServer(LeavingServer):
    """Serves, and does what its parent says."""

    def obey(self, link: Link, totals: "Totals", learned: Callable[[], bytes], *, retire_s: float) -> None:
        """From now on; `learned` is what is to be handed on, `retire_s` what running requests may take where others
        have taken over."""
        self._link = link
        self._totals = totals
        self._learned = learned
        self._told = NOTHING
        self._retire_s = retire_s

    async def main_loop(self) -> None:
        """It answers: say so, and listen to what the parent says until the end."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.fileno(), self._hear)
        look_seldom()
        self._link.send(Word.READY)
        self.beat()
        await super().main_loop()

    def beat(self) -> None:
        """Say that the event loop turns, again and again until it is closed, and what is new; nothing more, while the
        parent does not listen."""
        self._link.flush()
        if not self._link.is_behind:
            self._link.send(Word.BEAT)
            self._hand_on()
        asyncio.get_running_loop().call_later(BEAT_S, self.beat)

    def _hand_on(self) -> None:
        learned = self._learned()
        if learned != self._told:
            self._told = learned
            self._link.send(Word.LEARNED, learned)

    def _hear(self) -> None:
        try:
            words = self._link.heard()
        except Gone:
            os.kill(os.getpid(), signal.SIGKILL)  # who kills the parent kills the gateway
            return
        for word, said in words:
            self._do(word, said)

    def _do(self, word: Word, said: bytes) -> None:
        match word:
            case Word.LEAVE:
                self.leave()
            case Word.CLOSE:
                self.close()
            case Word.FORCE:
                self.force()
            case Word.RETIRE:
                self.retire(self._retire_s)
            case Word.TELL:
                self._totals.tell()
            case Word.TOTALS:
                self._totals.heard(FAMILIES.validate_json(said))
            case _:
                pass


class Totals:
    """The metrics of all workers, which the parent adds up."""

    def __init__(self, link: Link, registry: CollectorRegistry) -> None:
        self._link = link
        self._registry = registry
        self._asking: deque[asyncio.Future[Families]] = deque()

    async def read(self) -> Families:
        """They, as of now. Raises TimeoutError."""
        answer: asyncio.Future[Families] = asyncio.get_running_loop().create_future()
        self._asking.append(answer)
        self._link.send(Word.ASKED)
        async with asyncio.timeout(ROUND_S):
            return await answer

    def heard(self, families: Families) -> None:
        """The parent has answered the first that asked and was not answered."""
        answer = self._asking.popleft()
        if not answer.done():
            answer.set_result(families)

    def tell(self) -> None:
        """Tell the parent this process's own."""
        self._say()
        if self._link.is_behind:
            loop = asyncio.get_running_loop()
            loop.add_writer(self._link.fileno(), self._go_on)

    def _go_on(self) -> None:
        self._link.flush()
        if not self._link.is_behind:
            asyncio.get_running_loop().remove_writer(self._link.fileno())

    def tell_last(self) -> None:
        """The same for the last time, when the event loop has ended."""
        self._say()
        self._link.finish(LAST_WORDS_S)

    def _say(self) -> None:
        self._link.send(Word.TOLD, FAMILIES.dump_json(families_of(self._registry)))


def work(
    settings: Settings, state: Path | None, place: int, listeners: Listeners, link: Link, learned: bytes
) -> int:  # fmt: skip
    """Serve until told otherwise, with what one before it has learned; the exit code."""
    own = part_of(settings, place)
    app = create_app(own, state)
    app.state.admin_listener = listeners.admin
    app.state.handed = learned
    totals = app.state.totals = Totals(link, app.state.metrics.registry)
    server = own.server
    config = listener_of(app, server, host=server.host, port=server.port, grace_s=server.shutdown_s)
    serving = ObedientServer(config, leaving=app.state.leaving, drain_s=server.drain_s)

    def learned_here() -> bytes:
        return handed(app.state.served.cascades, own.models)

    serving.obey(link, totals, learned_here, retire_s=server.deadline_s + RETIRED_S)
    serving.run(sockets=[*listeners.main])
    totals.tell_last()
    return 0 if serving.started else NOT_STARTED
