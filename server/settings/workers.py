"""What several processes can have in common, and what they cannot."""

from collections.abc import Mapping

from server.settings.limits import DefaultAllowance, LimitsSettings, QueueSettings
from server.settings.server import ServerSettings


def refuse_uncounted(server: ServerSettings, limits: LimitsSettings) -> None:
    """Raise ValueError where each worker would count callers' limits by itself."""
    is_limited = server.auth == "keys" or limits.default != DefaultAllowance(priority=limits.default.priority)
    if server.workers > 1 and limits.url == "memory" and is_limited:
        raise ValueError(
            f"limits.url: 'memory' counts in one process, and server.workers is {server.workers}: name a Redis"
            " (redis://redis:6379/0), or have one worker"
        )


def refuse_unshared(queues: Mapping[str, QueueSettings], workers: int) -> None:
    """Raise ValueError where a queue has fewer places than there are workers."""
    for name, queue in queues.items():
        if queue.at_once is not None and queue.at_once < workers:
            raise ValueError(
                f"cascades.{name}.queue.at_once: {queue.at_once} cannot be divided among server.workers, {workers}:"
                " raise it, or have fewer workers"
            )
