"""What the store says: of one request, of the audits in their order, and of what is too old to be kept."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic import TypeAdapter
from sqlalchemy import Row, RowMapping, Table, and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.migrating import known_columns
from server.store.records import Audit, Decision, Feedback, Placed, ids_of
from server.store.tables import AUDITS, DECISIONS, FEEDBACK, PASSED

MOST_AUDITS = 1000
MOST_FEEDBACK = 100
MOST_DELETED = 1000
MOST_IDS = 500  # in one question
ANSWERED = 200

DECISION, AUDIT, PLACED, SAID = TypeAdapter(Decision), TypeAdapter(Audit), TypeAdapter(Placed), TypeAdapter(Feedback)


async def decision_of(connection: AsyncConnection, given: str, key: str | None = None) -> Decision | None:
    """The latest decision that has this id, of whichever kind; of this key or of any."""
    ids = DECISIONS.c.id, DECISIONS.c.request_id, DECISIONS.c.response_id
    known = await known_columns(connection, DECISIONS)
    wanted = select(*known).where(or_(*(column == given for column in ids))).order_by(DECISIONS.c.time.desc())
    if key is not None:
        wanted = wanted.where(DECISIONS.c.key == key)
    row = (await connection.execute(wanted.limit(1))).mappings().one_or_none()
    return None if row is None else decision_in(row)


async def said_of(connection: AsyncConnection, decision: Decision) -> list[Feedback | Audit]:
    """The feedback on a decision, by whichever of its ids (the latest hundred), and its audits."""
    wanted = select(FEEDBACK).where(FEEDBACK.c.about.in_(ids_of(decision))).order_by(FEEDBACK.c.time.desc())
    said = [SAID.validate_python(fields_of(row)) for row in await connection.execute(wanted.limit(MOST_FEEDBACK))]
    audited = select(AUDITS).where(AUDITS.c.decision == decision.id)
    return [*said, *[AUDIT.validate_python(fields_of(row)) for row in await connection.execute(audited)]]


async def audits_since(
    connection: AsyncConnection, cascade: str, after: int, *, formerly: Collection[str] = ()
) -> Sequence[Placed]:
    """A cascade's audits behind a place, by its name and those that it had before, in order; a thousand at most."""
    names = [cascade, *formerly]
    wanted = select(AUDITS).where(AUDITS.c.cascade.in_(names), AUDITS.c.place > after).order_by(AUDITS.c.place)
    rows = await connection.execute(wanted.limit(MOST_AUDITS))
    return [PLACED.validate_python({"place": fields["place"], "audit": fields}) for fields in map(fields_of, rows)]


async def former_names(connection: AsyncConnection, artefact: str, known: Collection[str]) -> list[str]:
    """The names, none of those that are known, by which an artefact's audits were kept."""
    wanted = select(AUDITS.c.cascade).where(AUDITS.c.artefact == artefact, AUDITS.c.cascade.not_in(known)).distinct()
    return sorted((await connection.execute(wanted)).scalars())


async def with_texts(
    connection: AsyncConnection, cascade: str | None, behind: tuple[float, str], most: int
) -> list[Decision]:
    """Answered requests whose texts were kept, of one cascade or all, that come behind a time and id, in that order."""
    time, last = behind
    later = or_(DECISIONS.c.time > time, and_(DECISIONS.c.time == time, DECISIONS.c.id > last))
    known = await known_columns(connection, DECISIONS)
    wanted = select(*known).where(later, DECISIONS.c.texts.is_not(None), DECISIONS.c.status == ANSWERED)
    if cascade is not None:
        wanted = wanted.where(DECISIONS.c.cascade == cascade)
    rows = await connection.execute(wanted.order_by(DECISIONS.c.time, DECISIONS.c.id).limit(most))
    return [decision_in(row) for row in rows.mappings()]


async def last_words(connection: AsyncConnection, decisions: Iterable[Decision]) -> Mapping[str, Feedback]:
    """The last feedback under each id of these decisions."""
    ids = [one for decision in decisions for one in ids_of(decision)]
    said: dict[str, Feedback] = {}
    for start in range(0, len(ids), MOST_IDS):
        wanted = select(FEEDBACK).where(FEEDBACK.c.about.in_(ids[start : start + MOST_IDS]))
        rows = await connection.execute(wanted.order_by(FEEDBACK.c.time, FEEDBACK.c.id))
        said |= {one.about: one for one in (SAID.validate_python(fields_of(row)) for row in rows)}
    return said


async def forget(connection: AsyncConnection, before: float) -> int:
    """Delete decisions, feedback and what was passed through from before that time (Unix seconds), a thousand each at
    most; how many. Audits stay, and so does what was counted."""
    return sum([await forget_in(connection, table, before) for table in (DECISIONS, FEEDBACK, PASSED)])


async def forget_in(connection: AsyncConnection, table: Table, before: float) -> int:
    """The same in one table."""
    old = select(table.c.id).where(table.c.time < before).limit(MOST_DELETED)
    return (await connection.execute(delete(table).where(table.c.id.in_(old)))).rowcount


def decision_in(row: RowMapping) -> Decision:
    """A row of decisions."""
    fields = {**row}
    return DECISION.validate_python({**fields, "evidence": fields["evidence"] or ()})


def fields_of(row: Row[tuple[object, ...]]) -> Mapping[str, object]:
    """A row by the names of its columns."""
    return {str(name): value for name, value in row._mapping.items()}
