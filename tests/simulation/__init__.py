"""A deterministic simulator: the real engine on simulated ports, one source of chance, and rules that must hold."""
