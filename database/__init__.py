"""PostgreSQL: the schema, its migrations, and every way into a transaction."""
