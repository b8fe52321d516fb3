"""Everything on one machine: `jabba up` with its own broker and PostgreSQL."""
