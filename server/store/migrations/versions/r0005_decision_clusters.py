"""Which kind of request a decision was judged as."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("decisions", sa.Column("cluster", sa.Text))
