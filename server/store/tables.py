"""The tables. A change here is a change of the migrations, too; what SQLite and PostgreSQL do not share is not used."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

ID = String(32)
GIVEN_ID = String(160)  # a client's own id is 128 characters at most, and may have a prefix of ours
WORD = String(64)
KEY = String(320)  # an identity provider's subject has 255 characters at most, and gets a prefix of ours

METADATA = MetaData()


def numbers(*names: str) -> list[Column[float]]:
    """Columns of numbers that need not be known."""
    return [Column(name, Double) for name in names]


DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("request_id", GIVEN_ID, nullable=False),
    Column("response_id", GIVEN_ID, nullable=False),
    Column("time", Double, nullable=False),
    Column("endpoint", WORD, nullable=False),
    Column("cascade", WORD, nullable=False),
    Column("mode", WORD, nullable=False),
    Column("tiers", JSON, nullable=False),
    Column("tier", WORD, nullable=False),
    Column("escalated", Boolean, nullable=False),
    Column("reason", WORD, nullable=False),
    Column("status", Integer, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("cost", Double, nullable=False),
    Column("cost_final_alone", Double, nullable=False),
    Column("cost_final_alone_estimated", Boolean, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("waited_s", Double, nullable=False),
    *numbers("first_byte_s", "confidence", "score", "threshold", "propensity", "verdict"),
    Column("confidence_of", WORD),
    Column("failure", WORD),
    Column("task", GIVEN_ID),
    Column("cluster", Text),
    Column("artefact", GIVEN_ID),
    Column("key", KEY),
    Column("evidence", JSON(none_as_null=True)),
    Column("texts", JSON(none_as_null=True)),
    Index("decisions_by_request_id", "request_id"),
    Index("decisions_by_response_id", "response_id"),
    Index("decisions_by_time", "time"),
    Index("decisions_by_key", "key", "time"),
)

AUDITS = Table(
    "audits",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("place", BigInteger, nullable=False, unique=True),
    Column("decision", ID, nullable=False),
    Column("time", Double, nullable=False),
    Column("cascade", WORD, nullable=False),
    Column("drafter", WORD, nullable=False),
    Column("final", WORD, nullable=False),
    Column("propensity", Double, nullable=False),
    Column("loss", Boolean),
    Column("grader", GIVEN_ID, nullable=False),
    Column("confidence", Double),
    Column("cost", Double, nullable=False),
    Column("artefact", GIVEN_ID),
    Column("draft_tokens", Integer),
    Column("final_tokens", Integer),
    *numbers("exposure", "unseen", "threshold"),
    Column("cluster", WORD),
    Index("audits_by_place", "cascade", "place"),
    Index("audits_by_decision", "decision"),
)

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("about", GIVEN_ID, nullable=False),
    Column("time", Double, nullable=False),
    Column("score", Double),
    Column("label", WORD),
    Column("correction", Text),
    Index("feedback_by_about", "about"),
    Index("feedback_by_time", "time"),
)

# The last place that was given to a row of a table whose rows have one order for all who read it.
PLACES = Table(
    "places",
    METADATA,
    Column("table", WORD, primary_key=True),
    Column("last", BigInteger, nullable=False),
)
