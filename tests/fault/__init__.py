"""Real processes are killed, frozen and restarted under load, and what must hold is checked afterwards."""
