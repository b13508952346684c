"""Usage by day, key, cascade and tier, and what was passed through."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ID = sa.String(32)
GIVEN_ID = sa.String(160)
WORD = sa.String(64)
KEY = sa.String(320)


def upgrade() -> None:
    """Make the tables; usage is counted from now on."""
    op.create_table(
        "usage",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("key", KEY, primary_key=True),
        sa.Column("cascade", WORD, primary_key=True),
        sa.Column("tier", WORD, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("answered", sa.BigInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("escalated", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("saved", sa.Double, nullable=False),
    )
    op.create_table(
        "passed",
        sa.Column("id", ID, primary_key=True),
        sa.Column("request_id", GIVEN_ID, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("endpoint", WORD, nullable=False),
        sa.Column("asked", WORD, nullable=False),
        sa.Column("tier", WORD, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("key", KEY),
    )
    op.create_index("passed_by_time", "passed", ["time"])
