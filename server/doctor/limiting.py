"""Where limits are counted: does Redis answer, and may the gateway do there what it must?"""

import time
from urllib.parse import urlsplit

from server.access.caller import Allowance
from server.doctor.finding import Finding, good, problem
from server.limits.account import Account
from server.limits.link import OF_A_CLUSTER, Link
from server.limits.memory import now
from server.limits.script import StoreDown, Told, keys_of
from server.settings.limits import LimitsSettings


class Uncounted:
    """Counts nothing."""

    def store_failed(self) -> None:
        """It is said in another way."""


async def of_limits(settings: LimitsSettings) -> list[Finding]:
    """What is wrong with it, if something is; nothing is said of this process' own memory."""
    if settings.url == "memory":
        return []
    url = settings.url.get_secret_value()
    parts = urlsplit(url)
    name = f"Redis at {parts.path if parts.scheme == 'unix' else parts.netloc.rpartition('@')[2]}"
    began_s = time.perf_counter()
    async with Link(url, timeout_s=settings.timeout_s, counting=Uncounted()) as link:
        try:
            await ask_for_nothing(link)
            mode = await link.mode()
        except StoreDown as down:
            fix = "start it, or correct limits.url; until then each gateway counts for itself"
            return [problem("limits", f"{name} does not do what it is asked: {down}", fix)]
    if mode == "cluster":
        return [problem("limits", f"{name}: {OF_A_CLUSTER}", "correct limits.url; callers of other nodes count for one"
                        " gateway alone, and while they ask so do all others")]  # fmt: skip
    return [good("limits", f"{name} answers, in {(time.perf_counter() - began_s) * 1000:.1f} ms with connecting")]


async def ask_for_nothing(link: Link) -> None:
    """What a gateway asks for a request, in nobody's name. Raises StoreDown."""
    moment = now()
    told = Told("doctor", 1, Account(), Allowance(), 0.0, 0.0, None, 1.0)
    await link.reserve(keys_of("", moment.day, moment.month), told.arguments(moment.day, moment.month))
