"""API keys; of their secrets only hashes are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

WORD = sa.String(64)


def upgrade() -> None:
    """Make the table, and the place of its last change."""
    op.create_table(
        "keys",
        sa.Column("id", WORD, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(160), nullable=False),
        sa.Column("digest", WORD, nullable=False),
        sa.Column("old_digest", WORD),
        sa.Column("old_until", sa.Double),
        sa.Column("salt", WORD, nullable=False),
        sa.Column("allowance", sa.JSON, nullable=False),
        sa.Column("task", WORD),
        sa.Column("is_admin", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("last_used", sa.Double),
        sa.Column("revoked", sa.Double),
    )
    op.create_index("keys_by_revision", "keys", ["revision"])
    places = sa.table("places", sa.column("table", WORD), sa.column("last", sa.BigInteger))
    op.bulk_insert(places, [{"table": "keys", "last": 0}])
