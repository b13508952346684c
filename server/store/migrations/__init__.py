"""How the tables came to be what they are, step by step; run by alembic when the store is opened."""
