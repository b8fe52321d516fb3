"""Metrics, logs, the health server and the watchdog."""
