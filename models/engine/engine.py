"""The event loop's side of the engine: requests in, answers out, as many as it may hold."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final

import torch
from structlog.typing import FilteringBoundLogger

from models.engine.errors import ClientLeft, EngineError, Overloaded, Stopping
from models.engine.generation import Delta, Generation, Verification
from models.engine.loop import News, StepLoop
from models.engine.metrics import Meter
from models.engine.network import Network
from models.engine.row import Row
from models.engine.tokenizer import Tokenizer

_STOP_TIMEOUT_S: Final = 1.0


class Answer:
    """What one request is told, row by row as it comes."""

    def __init__(
        self,
        generations: Sequence[Generation],
        tokenizer: Tokenizer,
        device: torch.device,
        *,
        speculative_tokens: int,
    ) -> None:
        self.unfinished = len(generations)
        self.speculative_tokens = speculative_tokens
        self.verifications: list[Verification] = []
        self.rows = [
            Row(generation, index, tokenizer, device, self.tell, speculative_tokens=speculative_tokens)
            for index, generation in enumerate(generations)
        ]
        self._news: asyncio.Queue[Delta | EngineError] = asyncio.Queue()

    def tell(self, news: Delta | EngineError) -> None:
        """Hand over the next thing to say."""
        if isinstance(news, Delta):
            self.unfinished -= news.finish is not None
            if news.verification is not None:
                self.verifications.append(news.verification)
        self._news.put_nowait(news)

    def abandon(self, error: EngineError) -> None:
        """Free the rows' places; whoever still reads gets `error`."""
        self.unfinished = 0
        for row in self.rows:
            row.abandoned = True
        self._news.put_nowait(error)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """All deltas of all rows, until each has finished."""
        awaited = len(self.rows)
        while awaited:
            news = await self._news.get()
            if isinstance(news, EngineError):
                raise news
            awaited -= news.finish is not None
            yield news


class Engine:
    """Serves answers between `start` and `close`, which the event loop's thread calls."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        meter: Meter,
        log: FilteringBoundLogger,
        *,
        max_batch: int,
        max_queued: int | None,
        speculative_tokens: int,
    ) -> None:
        self._speculative_tokens = speculative_tokens
        self._tokenizer = tokenizer
        self._device: torch.device = network.device
        self._limit = None if max_queued is None else max_batch + max_queued
        self._answers: set[Answer] = set()
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._steps = StepLoop(network, meter, log, max_batch=max_batch, deliver=self._deliver)
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether requests are still answered."""
        return self._steps.alive

    def start(self) -> None:
        """Begin to answer, on the running event loop."""
        self._event_loop = asyncio.get_running_loop()
        self._steps.start()

    def close(self) -> None:
        """Cut all answers off, and take no more."""
        self._closed = True
        for answer in self._answers:
            answer.abandon(Stopping("the engine is shutting down"))
        self._steps.stop()

    def join(self) -> bool:
        """End the model's thread; whether that came soon enough to wait for."""
        return self._steps.join(timeout_s=_STOP_TIMEOUT_S)

    @contextlib.contextmanager
    def answer(self, generations: Sequence[Generation]) -> Iterator[Answer]:
        """Start to write; leaving the context stops what is not finished."""
        self._make_sure_there_is_room(len(generations))
        answer = Answer(generations, self._tokenizer, self._device, speculative_tokens=self._speculative_tokens)
        self._answers.add(answer)
        for row in answer.rows:
            self._steps.submit(row)
        try:
            yield answer
        finally:
            answer.abandon(ClientLeft("the client has left"))
            self._answers.remove(answer)

    def _make_sure_there_is_room(self, rows: int) -> None:
        if self._closed:
            raise Stopping("the engine is shutting down")
        unfinished = sum(answer.unfinished for answer in self._answers)
        if self._limit is not None and unfinished + rows > self._limit:
            raise Overloaded("the engine is currently busy, try again later")

    def _deliver(self, news: News) -> None:
        """Called from the step loop's thread."""
        if self._event_loop is not None and not self._closed:
            self._event_loop.call_soon_threadsafe(_tell, news)


def _tell(news: News) -> None:
    for row, what in news:
        row.tell(what)
