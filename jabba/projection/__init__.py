"""The projection: what PostgreSQL keeps of the log, who writes it there, and every question it answers."""
