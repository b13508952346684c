"""What stands between a request and its being begun: the caller's limits, and the cascade's queue."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import structs
from starlette.responses import Response

from server.access.caller import Allowance, Caller
from server.answering import Order
from server.limits.account import allowed, is_limited, is_unbudgeted
from server.limits.demand import most, share_of
from server.limits.fair import Place
from server.limits.holding import UNHELD, Hold, Limited, Limiter
from server.limits.line import Line, LineRules
from server.limits.metrics import CascadeCounting, LimitMetrics
from server.limits.standing import NOTHING, Amount
from server.limits.turn import InTurn
from server.metrics import Metrics
from server.settings.limits import LimitsSettings, QueueSettings

Wanted = Callable[[int], Amount]


@dataclass(frozen=True, slots=True)
class Admission:
    """One gateway's. Where nothing is limited, a request passes without being counted."""

    limiter: Limiter
    settings: LimitsSettings
    default: Allowance | None
    lines: Mapping[str, Line]
    limit_metrics: LimitMetrics
    metrics: Metrics

    async def admitted(self, order: Order, answering: Callable[[Order], Response]) -> Response:
        """The answer to an order, when it is its turn. Raises Limited."""
        allowance = allowed(order.caller.allowance, self.default)
        order = prioritised(order, allowance.priority)
        line = self.lines.get(order.cascade.name)
        if is_limited(allowance):
            hold = await self._reserved(order.caller, allowance, wanted_of(order))
            order = structs.replace(order, hold=hold)
        try:
            if line is None:
                return answering(order)
            place = Place(order.caller.id, allowance.priority, self._share(order))
            return InTurn(order, place, line, answering, self.metrics)
        except BaseException:
            order.hold.undo()
            raise

    async def reserved(self, caller: Caller, wanted: Wanted) -> Hold:
        """What a request holds that goes to one tier as it came. Raises Limited."""
        allowance = allowed(caller.allowance, self.default)
        return await self._reserved(caller, allowance, wanted) if is_limited(allowance) else UNHELD

    def close(self) -> None:
        """Send away all who wait."""
        for line in self.lines.values():
            line.close()

    async def _reserved(self, caller: Caller, allowance: Allowance, wanted: Wanted) -> Hold:
        counts_tokens = allowance.tokens_per_minute is not None or not is_unbudgeted(allowance)
        amount = wanted(self.settings.unstated_tokens) if counts_tokens else NOTHING
        try:
            return await self.limiter.reserve(caller.id, allowance, amount)
        except Limited as refused:
            self.limit_metrics.limited(refused.reason)
            raise

    def _share(self, order: Order) -> int:
        return share_of(order.asked.prompt, self.settings.unstated_tokens)


def wanted_of(order: Order) -> Wanted:
    """What an order could take at most."""
    return lambda unstated_tokens: most(order.cascade, order.asked.prompt, unstated_tokens)


def prioritised(order: Order, priority: int) -> Order:
    """The order; the engines are told its priority too."""
    if not priority:
        return order
    asked = order.asked
    return structs.replace(order, asked=structs.replace(asked, prompt=structs.replace(asked.prompt, priority=priority)))


def lines_of(queues: Mapping[str, QueueSettings], metrics: LimitMetrics) -> dict[str, Line]:
    """The queues of the cascades that have one."""
    return {
        name: Line(
            LineRules(queue.at_once, queue.waiting, queue.wait_s), CascadeCounting(metrics, name), time.perf_counter
        )
        for name, queue in queues.items()
        if queue.at_once is not None
    }
