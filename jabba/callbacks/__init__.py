"""How a callback is invoked."""
