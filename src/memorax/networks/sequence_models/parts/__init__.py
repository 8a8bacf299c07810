"""What memory models are made of: the protocol, cells and their configurations, what runs them over time."""
