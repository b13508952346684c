"""Which cluster's certificate an audit is about. Those from before are the global fit's, for which there is no name."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("audits", sa.Column("cluster", sa.String(64)))
