"""Calling user code: the contract of a transport, its implementations, and what a result means."""
