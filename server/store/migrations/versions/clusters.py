"""Which kind of request a decision was judged as."""

import sqlalchemy as sa
from alembic import op

revision = "clusters"
down_revision = "0001"


def upgrade() -> None:
    """Add the column."""
    op.add_column("decisions", sa.Column("cluster", sa.Text))
