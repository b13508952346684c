"""What alembic runs first: the migrations go over the connection, and in the transaction, that it was given."""

from alembic import context
from sqlalchemy import Connection


def run() -> None:
    """All steps that are not taken yet."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


run()
