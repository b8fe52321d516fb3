"""What Kafka carries: topics, slices, events, commands and positions."""
