"""Where facts come from: this process's memory, Redis, PostgreSQL."""
