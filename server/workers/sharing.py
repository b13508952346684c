"""What one worker has of what the configuration gives to the whole gateway. Pure."""

from server.settings.cascade import AuditSettings, CascadeSettings
from server.settings.limits import QueueSettings
from server.settings.schema import Settings
from server.settings.tier import TierSettings


def part_of(settings: Settings, place: int) -> Settings:
    """The settings of the worker of that number, from 0. Places and queues are divided so that the parts add up to the
    whole; so is what audits may cost where nothing is kept, and workers learn nothing of each other's."""
    workers = settings.server.workers
    if workers == 1:
        return settings
    keeps = settings.store.url != "none"
    cascades = {name: cascade_of(one, place, workers, keeps) for name, one in settings.cascades.items()}
    tiers = {name: tier_of(one, place, workers) for name, one in settings.tiers.items()}
    return settings.model_copy(update={"cascades": cascades, "tiers": tiers})


def cascade_of(cascade: CascadeSettings, place: int, workers: int, keeps: bool) -> CascadeSettings:
    """Its part of a cascade's queue and audits."""
    audits = cascade.audits if keeps else audits_of(cascade.audits, workers)
    return cascade.model_copy(update={"queue": queue_of(cascade.queue, place, workers), "audits": audits})


def queue_of(queue: QueueSettings, place: int, workers: int) -> QueueSettings:
    """Its part of a queue."""
    if queue.at_once is None:
        return queue
    at_once, waiting = share(queue.at_once, place, workers), share(queue.waiting, place, workers)
    return queue.model_copy(update={"at_once": at_once, "waiting": waiting})


def audits_of(audits: AuditSettings, workers: int) -> AuditSettings:
    """Its part of their money."""
    if audits.spend_per_day is None:
        return audits
    return audits.model_copy(update={"spend_per_day": audits.spend_per_day / workers})


def tier_of(tier: TierSettings, place: int, workers: int) -> TierSettings:
    """Its part of those who may wait for a tier without servers: one at least."""
    if tier.cold is None:
        return tier
    requests = max(1, share(tier.cold.requests, place, workers))
    return tier.model_copy(update={"cold": tier.cold.model_copy(update={"requests": requests})})


def share(whole: int, place: int, workers: int) -> int:
    """The parts of all workers add up to the whole."""
    return whole // workers + (place < whole % workers)
