"""What runs amount to: statistics over seeds, summaries, learning curves, and the costs of memory models."""
