"""The parts that Jabba brings along, so that a machine with only Python runs all of it."""
