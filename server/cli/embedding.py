"""Asking a tier's servers for the embeddings of recorded prompts, for `smallfirst tune --skip --embeddings`."""

import asyncio
from collections.abc import Callable, Sequence

from models.embedding import PoolEmbedder
from models.errors import CapabilityMiss, ModelError
from models.session import Session
from router.lab.foresight import Embedding, Vectors
from server.building import pool_of
from server.cli.progress import progress
from server.settings.reading import SettingsError
from server.settings.schema import Settings
from server.settings.tier import TierSettings

AT_ONCE = 8
Vector = tuple[float, ...] | None


class CannotEmbed(Exception):
    """The tier's servers give no embeddings."""


def embedding_by(name: str, settings: Settings, fingerprint: str | None) -> Embedding:
    """The tier of that name. Raises SettingsError."""
    tier = settings.tiers.get(name)
    if tier is None:
        raise SettingsError([f"--embeddings: there is no tier {name!r} (there are: {', '.join(settings.tiers)})"])
    if not tier.urls:
        raise SettingsError([f"--embeddings: tier {name!r} is not running yet: start it, and give its `urls`"])
    return Embedding(tier.model, fingerprint, lambda prompts: asyncio.run(embeddings(name, tier, prompts)))


async def embeddings(name: str, tier: TierSettings, prompts: Sequence[str]) -> Vectors:
    """Each prompt's, in their order; None of one that the servers do not take. Raises CannotEmbed."""
    async with Session() as session:
        servers = PoolEmbedder(pool_of(tier, session))
        with progress(len(prompts), f"asking {name}") as done:
            try:
                return await all_of(servers, prompts, done)
            except ModelError as failed:
                raise CannotEmbed(f"--embeddings: tier {name!r}: {failed}") from failed


async def all_of(servers: PoolEmbedder, prompts: Sequence[str], done: Callable[[], None]) -> Vectors:
    """A few at a time; the first failure ends the others. Raises a ModelError, also where none is taken."""
    room, refused = asyncio.Semaphore(AT_ONCE), list[CapabilityMiss]()

    async def one(place: int, prompt: str) -> Vector:
        async with room:
            try:
                return (await servers.embed(prompt, f"tune-{place}")).vector
            except CapabilityMiss as miss:
                refused.append(miss)
                return None
            finally:
                done()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(place, prompt)) for place, prompt in enumerate(prompts)]
    except* ModelError as failed:
        raise failed.exceptions[0] from None
    if refused and len(refused) == len(prompts):
        raise refused[0]
    return [task.result() for task in tasks]
