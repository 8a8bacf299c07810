"""Parts of memory models: their protocol, configured cells, what runs cells over time, the registry."""
