"""What stops a request's work before it is done: its time runs out, or its client leaves. No request has a timer or a
task of its own for that: there is one timer for all that wait, and connections tell when they are lost."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Literal, Self, TypeVar

from starlette.types import Receive, Scope

LEFT = "smallfirst.left"  # in a request's scope: a future that is done when its client has left

Made = TypeVar("Made")


class Stop:
    """Cancels the task that entered its block when it is called, if the block is not over yet; and keeps that
    cancellation, and no other, to itself."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._was_called = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        task, self._task = self._task, None
        if task is None or not self._was_called:
            return False
        return task.uncancel() <= self._cancelling and kind is asyncio.CancelledError

    def __call__(self, _left: object = None) -> None:
        """Cancel it."""
        if self._task is not None and not self._was_called:
            self._was_called = self._task.cancel()


class Deadline(Stop):
    """A block that raises TimeoutError where it takes too long."""

    def __init__(self, deadlines: "Deadlines", within_s: float) -> None:
        super().__init__()
        self._deadlines = deadlines
        self._within_s = within_s
        self.due_s = 0.0

    def __enter__(self) -> Self:
        self._deadlines.wait(self, self._within_s)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._deadlines.forget(self)
        if super().__exit__(kind, error, trace):
            raise TimeoutError from error
        return False


class Deadlines:
    """All that is under way within a time, on one timer of the event loop: it looks when the first that it knows of is
    due, by which time most have long been forgotten. `asyncio.timeout` sets and cancels a timer for each."""

    def __init__(self) -> None:
        self._waiting: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """For `with`: its block may take so long."""
        return Deadline(self, seconds)

    def wait(self, deadline: Deadline, within_s: float) -> None:
        """One begins."""
        loop = asyncio.get_running_loop()
        deadline.due_s = loop.time() + within_s
        self._waiting.add(deadline)
        if self._timer is None or deadline.due_s < self._timer.when():
            self._look_at(loop, deadline.due_s)

    def forget(self, deadline: Deadline) -> None:
        """It is over."""
        self._waiting.discard(deadline)

    def _look_at(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_s = loop.time()
        for deadline in [one for one in self._waiting if one.due_s <= now_s]:
            self._waiting.discard(deadline)
            deadline()
        if self._waiting:
            self._look_at(loop, min(one.due_s for one in self._waiting))


async def unless_gone(work: Awaitable[Made], scope: Scope, receive: Receive) -> Made | None:
    """What the work makes; None where the client leaves first: then it is cancelled, and has ended before this
    returns. Where nobody tells of the connection's end, a task waits for what is received of it."""
    told: asyncio.Future[None] | None = scope.get(LEFT)
    left = asyncio.ensure_future(gone(receive)) if told is None else told
    with Stop() as stop:
        left.add_done_callback(stop)
        try:
            return await work
        finally:
            left.remove_done_callback(stop)
            if told is None:
                left.cancel()
    return None


async def gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
