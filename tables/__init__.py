"""The Faust tables: what the workers remember."""
