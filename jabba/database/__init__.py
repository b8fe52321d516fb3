"""PostgreSQL: connections, schema, migrations and every query of the API."""
