"""Decisions, audits and feedback."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(32)
GIVEN_ID = sa.String(160)
WORD = sa.String(64)


def upgrade() -> None:
    """Make the tables."""
    make_decisions()
    make_audits()
    make_feedback()
    places = op.create_table(
        "places",
        sa.Column("table", WORD, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(places, [{"table": "audits", "last": 0}])


def make_decisions() -> None:
    """What became of each request, and why."""
    op.create_table(
        "decisions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("request_id", GIVEN_ID, nullable=False),
        sa.Column("response_id", GIVEN_ID, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("endpoint", WORD, nullable=False),
        sa.Column("cascade", WORD, nullable=False),
        sa.Column("mode", WORD, nullable=False),
        sa.Column("tiers", sa.JSON, nullable=False),
        sa.Column("tier", WORD, nullable=False),
        sa.Column("escalated", sa.Boolean, nullable=False),
        sa.Column("reason", WORD, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("steps", sa.JSON, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("cost_final_alone", sa.Double, nullable=False),
        sa.Column("cost_final_alone_estimated", sa.Boolean, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("waited_s", sa.Double, nullable=False),
        sa.Column("first_byte_s", sa.Double),
        sa.Column("confidence", sa.Double),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        sa.Column("propensity", sa.Double),
        sa.Column("confidence_of", WORD),
        sa.Column("failure", WORD),
        sa.Column("task", GIVEN_ID),
        sa.Column("artefact", GIVEN_ID),
        sa.Column("evidence", sa.JSON),
        sa.Column("texts", sa.JSON),
    )
    op.create_index("decisions_by_request_id", "decisions", ["request_id"])
    op.create_index("decisions_by_response_id", "decisions", ["response_id"])
    op.create_index("decisions_by_time", "decisions", ["time"])


def make_audits() -> None:
    """Accepted drafts that were compared with the final tier's answer, in one order for all who read them."""
    op.create_table(
        "audits",
        sa.Column("id", ID, primary_key=True),
        sa.Column("place", sa.BigInteger, nullable=False, unique=True),
        sa.Column("decision", ID, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("cascade", WORD, nullable=False),
        sa.Column("drafter", WORD, nullable=False),
        sa.Column("final", WORD, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("loss", sa.Boolean),
        sa.Column("grader", GIVEN_ID, nullable=False),
        sa.Column("confidence", sa.Double),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("artefact", GIVEN_ID),
        sa.Column("draft_tokens", sa.Integer),
        sa.Column("final_tokens", sa.Integer),
        sa.Column("exposure", sa.Double),
    )
    op.create_index("audits_by_place", "audits", ["cascade", "place"])
    op.create_index("audits_by_decision", "audits", ["decision"])


def make_feedback() -> None:
    """What people think of answers."""
    op.create_table(
        "feedback",
        sa.Column("id", ID, primary_key=True),
        sa.Column("about", GIVEN_ID, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("label", WORD),
        sa.Column("correction", sa.Text),
    )
    op.create_index("feedback_by_about", "feedback", ["about"])
    op.create_index("feedback_by_time", "feedback", ["time"])
