"""PostgreSQL: statements by name, rows to values, and connections that send many statements in one round trip."""
