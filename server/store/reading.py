"""What the lab works on: requests whose texts were kept, with what people said of their answers, and audits. Reads the
database alone, whether a gateway uses it or not."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from server.store import asking
from server.store.database import Database
from server.store.records import Decision, Feedback, Placed, ids_of

A_PAGE = 500
BEFORE_ALL = (0.0, "")


@dataclass(frozen=True, slots=True)
class Asked:
    """A finished request as the tiers got it, the answer that the client got and by which tier, and the last word of
    feedback on it, if there is any."""

    id: str
    time: float
    cascade: str
    tier: str
    request: Mapping[str, JsonValue]
    answer: str | None
    task: str | None
    feedback: Feedback | None


def asked(url: str, *, cascade: str | None = None, judged_only: bool = False) -> Iterator[Asked]:
    """The finished requests of a store (`sqlite:///…`) whose texts were kept, in the order of time: of one cascade or
    of all; `judged_only` leaves out those without feedback. Raises StoreDown."""
    with asyncio.Runner() as runner:
        database = Database.of_others(url)
        behind = BEFORE_ALL
        try:
            while page := runner.run(pages(database, cascade, behind)):
                last = page[-1][0]
                behind = last.time, last.id
                for decision, feedback in page:
                    if decision.texts and decision.texts.request and not (judged_only and feedback is None):
                        yield asked_in(decision, decision.texts.request, feedback)
        finally:
            runner.run(database.close())


def audits_of(url: str, cascade: str) -> Iterator[Placed]:
    """A cascade's audits in a store, all of them, in their order. Raises StoreDown."""
    with asyncio.Runner() as runner:
        database = Database.of_others(url)
        place = 0
        try:
            while placed := runner.run(database.read(partial(asking.audits_since, cascade=cascade, after=place))):
                place = placed[-1].place
                yield from placed
        finally:
            runner.run(database.close())


async def pages(
    database: Database, cascade: str | None, behind: tuple[float, str]
) -> Sequence[tuple[Decision, Feedback | None]]:
    """The next decisions with texts, and the last feedback on each."""
    decisions = await database.read(lambda connection: asking.with_texts(connection, cascade, behind, A_PAGE))
    said = await database.read(lambda connection: asking.last_words(connection, decisions))
    return [(decision, latest(said.get(one) for one in ids_of(decision))) for decision in decisions]


def latest(said: Iterator[Feedback | None]) -> Feedback | None:
    """The last of what was said under several ids."""
    return max((one for one in said if one is not None), key=lambda one: (one.time, one.id), default=None)


def asked_in(decision: Decision, request: Mapping[str, JsonValue], feedback: Feedback | None) -> Asked:
    """What a decision tells of its request."""
    answer = decision.texts.answer if decision.texts else None
    return Asked(
        decision.id, decision.time, decision.cascade, decision.tier, request, answer, decision.task, feedback
    )  # fmt: skip
