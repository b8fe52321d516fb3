"""Defects that the simulator must find: each turns one line of the engine's reasoning off."""

from tests.simulation.bugs import claims, offsets, order, ownership, projection, records
from tests.simulation.bugs.planting import BUGS, Bug

__all__ = ["BUGS", "Bug", "claims", "offsets", "order", "ownership", "projection", "records"]
