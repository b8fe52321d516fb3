"""The dashboard: static files, and nothing on the server that the API does not have."""
