"""What the final tier said of a draft, and whose key a request came with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.String(320)


def upgrade() -> None:
    """Add the columns; who wrote a row before knew neither."""
    op.add_column("decisions", sa.Column("verdict", sa.Double))
    op.add_column("decisions", sa.Column("key", KEY))
    op.create_index("decisions_by_key", "decisions", ["key", "time"])
