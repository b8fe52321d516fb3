"""The Faust agents: decode a message, hand it over."""
