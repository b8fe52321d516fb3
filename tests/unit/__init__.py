"""Pure tests: no network, no process, no clock."""
