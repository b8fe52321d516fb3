"""Live streams: what happens in the events topic, told to everyone who listens."""
