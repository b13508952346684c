"""What of an audit's exposure can be counted on, so that audits can certify."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; of audits that are there already, nobody knows."""
    for name in ("unseen", "threshold"):
        op.add_column("audits", sa.Column(name, sa.Double))
