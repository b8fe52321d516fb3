"""What a job is: its models, statuses, ids and JSON."""
