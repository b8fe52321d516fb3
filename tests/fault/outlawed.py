"""Callbacks whose worker is refused as it joins its group."""

from tests.fault.steps import outlaw_at_once

outlaw_at_once()
